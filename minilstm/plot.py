def plot_runs(runs, out): pass
