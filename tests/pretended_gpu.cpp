// A pretended GPU on the CPU: what CuPy calls of CUDA's runtime, its driver and cuBLAS. See pretended_gpu.py.
//
// Work runs at once, or becomes a node of the graph that is being captured. The rules of stream capture are those of
// the CUDA Programming Guide, chapter "CUDA Graphs": [E] "Cross-stream Dependencies and Events", [P] "Prohibited and
// Unhandled Operations", [I] "Invalidation"; of the Runtime API: [M] cudaThreadExchangeStreamCaptureMode; and of cuBLAS:
// [B] cublasDestroy().
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

using Handle = intptr_t;
using Work = std::function<void()>;
struct Object;  // a PyObject
extern "C" {
Object *PyLong_FromLong(long), *Py_BuildValue(const char*, ...), *PyErr_Format(Object*, const char*, ...);
void PyErr_SetObject(Object*, Object*), PyGILState_Release(int);
int PyGILState_Ensure();
const char* PyUnicode_AsUTF8(Object*);
int PyBytes_AsStringAndSize(Object*, char**, intptr_t*);
extern Object* PyExc_RuntimeError;
Object* runtime_error;  // CuPy's CUDARuntimeError, set by pretended_gpu.py
}

enum Error {  // cudaError_t
    success = 0, invalid_value = 1, illegal_state = 401, capture_unsupported = 900, capture_invalidated = 901,
    capture_merge = 902, capture_unmatched = 903, capture_unjoined = 904, capture_isolation = 905,
    capture_implicit = 906, captured_event = 907, shared_workspace = 1000,
};

// ---------------------------------------------------------------------------------------------------------- capture

struct Node {
    std::string kind, name;
    std::set<int> needs;  // the nodes that must run before
    Work work;
    Handle workspace = 0;  // of a product
};
struct Graph {
    std::vector<Node> nodes;
    int replays = 0;
};
struct Stream;
struct Capture {
    Graph graph;
    Stream* origin;
    bool relaxed, invalid = false, ended = false;
};
struct Stream {
    bool blocking;                     // with respect to the legacy default stream
    std::shared_ptr<Capture> capture;  // null if the stream is not capturing
    std::set<int> last;                // the nodes that its next node needs
};
struct Event {  // as last recorded
    std::shared_ptr<Capture> capture;
    std::set<int> last;
};
static std::set<Stream*> streams;
static Graph* last_captured;

static bool is_legacy(Handle stream) { return stream == 0 || stream == 1; }  // 1 is cudaStreamLegacy
static Stream& get(Handle stream) { return *(Stream*)stream; }

// [I] A forbidden operation invalidates the captures that it concerns: they can only be ended, with an error.
static Error invalidate(Error error, const std::shared_ptr<Capture>& capture)
{
    if (capture) capture->invalid = true;
    return error;
}

// The error, if a stream for which the condition holds is capturing.
static Error if_capturing(bool (*condition)(const Stream&), Error error)
{
    Error result = success;
    for (Stream* stream : streams)
        if (stream->capture && condition(*stream)) result = invalidate(error, stream->capture);
    return result;
}
static bool any(const Stream&) { return true; }
static bool blocking(const Stream& stream) { return stream.blocking; }
static bool not_relaxed(const Stream& stream) { return !stream.capture->relaxed; }

// [P] The legacy default stream includes all others, but those created with cudaStreamNonBlocking: it may not be used
// while one of them is being captured.
static Error check(Handle stream)
{
    if (is_legacy(stream)) return if_capturing(blocking, capture_implicit);
    const auto& capture = get(stream).capture;
    return capture && capture->invalid ? capture_invalidated : success;
}

// [P] What is being captured, a stream or an event, is not being executed: it cannot be waited for or queried.
static Error check_wait(Handle stream)
{
    if (Error error = check(stream)) return error;
    return is_legacy(stream) || !get(stream).capture ? success : invalidate(capture_unsupported, get(stream).capture);
}
static Error check_wait(const Event& event)
{
    return event.capture ? invalidate(captured_event, event.capture) : success;
}

// [M] Outside the mode "relaxed", CuPy's default, potentially unsafe calls such as cudaMalloc are forbidden.
static Error check_unsafe() { return if_capturing(not_relaxed, capture_unsupported); }

static Error submit(Handle handle, const char* kind, const std::string& name, Work work, Handle workspace = 0)
{
    if (Error error = check(handle)) return error;
    if (is_legacy(handle) || !get(handle).capture) {
        work();
        return success;
    }
    Stream& stream = get(handle);
    std::vector<Node>& nodes = stream.capture->graph.nodes;
    nodes.push_back({kind, name, stream.last, work, workspace});
    stream.last = {int(nodes.size()) - 1};
    return success;
}

static Error wait_event(Handle handle, Event& event)
{
    if (Error error = check(handle)) return error;
    Stream* stream = is_legacy(handle) ? nullptr : &get(handle);
    std::shared_ptr<Capture> mine = stream ? stream->capture : nullptr, its = event.capture;
    if (!its) return mine ? invalidate(capture_isolation, mine) : success;  // [P] an event that was not captured
    if (its->invalid) return invalidate(capture_invalidated, mine);
    if (its->ended) return invalidate(captured_event, mine);
    if (!stream) return invalidate(capture_isolation, its);                 // the default stream cannot be captured
    if (mine && mine != its) {                                              // [P] captures cannot be merged
        invalidate(capture_merge, mine);
        return invalidate(capture_merge, its);
    }
    if (!mine) stream->last.clear();  // [E] a fork: the stream joins the capture
    stream->capture = its;
    stream->last.insert(event.last.begin(), event.last.end());
    return success;
}

// For every node, the nodes that run before it in any order of replay.
static std::vector<std::vector<bool>> ancestors(const std::vector<Node>& nodes)
{
    std::vector<std::vector<bool>> result(nodes.size(), std::vector<bool>(nodes.size()));
    for (size_t n = 0; n < nodes.size(); ++n)
        for (int needed : nodes[n].needs) {
            for (size_t m = 0; m < n; ++m) result[n][m] = result[n][m] || result[needed][m];
            result[n][needed] = true;
        }
    return result;
}

static Error end_capture(Stream& stream, Graph** graph)
{
    std::shared_ptr<Capture> capture = stream.capture;
    if (!capture) return illegal_state;
    if (capture->origin != &stream) return invalidate(capture_unmatched, capture);
    std::set<int> last = stream.last;
    for (Stream* each : streams)
        if (each->capture == capture) *each = {each->blocking};
    capture->ended = true;
    if (capture->invalid) return capture_invalidated;
    const auto& nodes = capture->graph.nodes;
    const auto before = ancestors(nodes);
    for (int n = 0; n < int(nodes.size()); ++n) {
        // [E] all branches must have been joined to the stream on which the capture began
        bool joined = last.count(n);
        for (int end : last) joined = joined || before[end][n];
        if (!joined) return capture_unjoined;
        // cuBLAS would allow this, and the products would overwrite each other's workspace
        for (int m = 0; m < n && nodes[n].workspace; ++m)
            if (nodes[m].workspace == nodes[n].workspace && !before[n][m]) return shared_workspace;
    }
    *graph = last_captured = new Graph(capture->graph);
    return success;
}

// Runs the nodes in an order that their dependencies allow. The first replay prefers the nodes captured last, the
// second those captured first, which for a fork means its branch as late and as early as possible; then at random.
static void replay(Graph& graph)
{
    int replay = graph.replays++;
    std::minstd_rand random(replay);
    std::vector<int> missing, ready;
    std::vector<std::vector<int>> next(graph.nodes.size());
    for (int n = 0; n < int(graph.nodes.size()); ++n) {
        missing.push_back(graph.nodes[n].needs.size());
        for (int needed : graph.nodes[n].needs) next[needed].push_back(n);
        if (!missing[n]) ready.push_back(n);
    }
    while (!ready.empty()) {
        std::sort(ready.begin(), ready.end());
        int pick = replay == 0 ? ready.size() - 1 : replay == 1 ? 0 : random() % ready.size(), n = ready[pick];
        ready.erase(ready.begin() + pick);
        graph.nodes[n].work();
        for (int follower : next[n])
            if (--missing[follower] == 0) ready.push_back(follower);
    }
}

// ----------------------------------------------------------------------------------------------------------- memory

static std::map<Handle, size_t> device_memory, pinned_memory;  // address -> size

static bool within(const std::map<Handle, size_t>& memory, Handle address, size_t size)
{
    auto block = memory.upper_bound(address);
    return block != memory.begin() && (--block, address + size <= block->first + block->second);
}

// A copy between device and device, or between device and host if the kind (cudaMemcpyKind) says so.
static Error copy(Handle to, Handle from, size_t size, int kind, Handle stream)
{
    bool to_device = kind == 1 || kind == 3 || (kind == 4 && within(device_memory, to, size));
    bool from_device = kind == 2 || kind == 3 || (kind == 4 && within(device_memory, from, size));
    if (to_device != within(device_memory, to, size) || from_device != within(device_memory, from, size))
        return invalid_value;
    bool pageable = !(to_device || within(pinned_memory, to, size)) ||
                    !(from_device || within(pinned_memory, from, size));
    bool capturing = !is_legacy(stream) && get(stream).capture;
    if (capturing && pageable)  // Runtime API, "API synchronization behavior": it would wait
        return invalidate(capture_unsupported, get(stream).capture);
    return submit(stream, "memcpy", "memcpy", [=] { memmove((void*)to, (void*)from, size); });
}

// ---------------------------------------------------------------------------------------------------------- products

struct Blas {
    Handle stream = 0, workspace = 0;
};

// C = alpha op(A) op(B) + beta C, column-major, op the identity or the transpose
template <class T, class Sum>
static void gemm(bool ta, bool tb, int M, int N, int K, Sum alpha, const T* a, int lda, const T* b, int ldb, Sum beta,
                 T* c, int ldc)
{
    std::vector<Sum> columns(size_t(M) * K), sum(M);
    for (int k = 0; k < K; ++k)
        for (int m = 0; m < M; ++m) columns[size_t(k) * M + m] = a[ta ? k + size_t(m) * lda : m + size_t(k) * lda];
    for (int n = 0; n < N; ++n) {
        std::fill(sum.begin(), sum.end(), Sum(0));
        for (int k = 0; k < K; ++k) {
            Sum factor = b[tb ? n + size_t(k) * ldb : k + size_t(n) * ldb];
            for (int m = 0; m < M; ++m) sum[m] += columns[size_t(k) * M + m] * factor;
        }
        T* column = c + size_t(n) * ldc;
        for (int m = 0; m < M; ++m) column[m] = T(alpha * sum[m] + (beta != 0 ? beta * Sum(column[m]) : Sum(0)));
    }
}

extern "C" {

int cublasCreate_v2(Blas** blas) { return *blas = new Blas, 0; }
int cublasDestroy_v2(Blas* blas)
{
    int gil = PyGILState_Ensure();
    if_capturing(any, capture_unsupported);  // [B] it waits for the device. On an H100 only later calls report it
    PyGILState_Release(gil);
    return delete blas, 0;
}
int cublasSetStream_v2(Blas* blas, Handle stream) { return *blas = {stream, 0}, 0; }  // resets the workspace
int cublasGetStream_v2(Blas* blas, Handle* stream) { return *stream = blas->stream, 0; }
int cublasSetWorkspace_v2(Blas* blas, Handle workspace, size_t) { return blas->workspace = workspace, 0; }

int cublasGemmEx(Blas* blas, int ta, int tb, int M, int N, int K, const void* alpha, const void* a, int type, int lda,
                 const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc, int compute, int)
{
    enum { float32 = 0, float64 = 1, float16 = 2 };
    if (type_b != type || type_c != type || (compute == 70) != (type == float64)) return 15;  // not supported
    Work work;
    auto multiply = [&](auto value, auto factor) {
        using T = decltype(value);
        auto alpha_now = *(decltype(factor)*)alpha, beta_now = *(decltype(factor)*)beta;
        work = [=] { gemm(ta, tb, M, N, K, alpha_now, (const T*)a, lda, (const T*)b, ldb, beta_now, (T*)c, ldc); };
    };
    if (type == float64) multiply(double(), double());
    else if (type == float32) multiply(float(), float());
    else if (type == float16) multiply(_Float16(), float());
    else return 15;
    int gil = PyGILState_Ensure();  // as for all other functions here: one thread at a time
    Error error = submit(blas->stream, "gemm", "gemm", work, blas->workspace);
    PyGILState_Release(gil);
    return error ? 13 : 0;  // execution failed
}

// ------------------------------------------------------------------------------------------- what CuPy's modules call

static Handle done_with(Error error, Handle result)
{
    if (!error) return result;
    if (error == shared_workspace) PyErr_Format(PyExc_RuntimeError, "products that may overlap share a workspace");
    else PyErr_SetObject(runtime_error, PyLong_FromLong(error));
    return 0;
}
static Object* done(Error error) { return error ? (Object*)done_with(error, 0) : Py_BuildValue(""); }

int runtime_driverGetVersion(int) { return 13000; }
int runtime_getDeviceCount(int) { return 1; }
int runtime_getDevice(int) { return 0; }
Object* runtime_setDevice(int, int) { return done(success); }
Object* runtime__ensure_context() { return done(success); }
Object* runtime_memGetInfo(int) { return Py_BuildValue("nn", intptr_t(1) << 33, intptr_t(1) << 33); }
int runtime_deviceGetAttribute(int attribute, int, int)
{
    return attribute == 75 ? 9 : 0;  // of the attributes that CuPy asks for: compute capability 9.0, nothing optional
}
Object* runtime_getDeviceProperties(int, int)
{
    return Py_BuildValue("{s:y,s:i,s:i,s:i,s:n}", "name", "pretended GPU", "warpSize", 32, "maxThreadsPerBlock", 1024,
                         "multiProcessorCount", 4, "totalGlobalMem", intptr_t(1) << 33);
}

// Memory lies between two pages that cannot be accessed, in turn next to the first and to the second.
static size_t pages(size_t size) { return (size + 4095) / 4096 * 4096; }
Handle runtime_malloc(size_t size, int)
{
    if (Error error = check_unsafe()) return done_with(error, 0);
    char* start = (char*)mmap(nullptr, pages(size) + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    mprotect(start, pages(size), PROT_READ | PROT_WRITE);
    static int count = 0;
    char* address = ++count % 2 ? start : start + pages(size) - (size + 255) / 256 * 256;
    memset(address, 0xFF, size);  // NaN
    device_memory[(Handle)address] = size;
    return (Handle)address;
}
Object* runtime_free(Handle address, int)
{
    if (Error error = check_unsafe()) return done(error);
    auto block = device_memory.find(address);
    if (block == device_memory.end()) return done(invalid_value);
    munmap((void*)(address / 4096 * 4096 - 4096), pages(block->second) + 8192);
    device_memory.erase(block);
    return done(success);
}
Handle runtime_hostAlloc(size_t size, unsigned, int)
{
    if (Error error = check_unsafe()) return done_with(error, 0);
    Handle address = (Handle)malloc(size);
    pinned_memory[address] = size;
    return address;
}
Object* runtime_freeHost(Handle address, int)
{
    pinned_memory.erase(address);
    free((void*)address);
    return done(success);
}
int runtime_pointerGetMemoryType(Handle address, int)  // cudaMemoryType
{
    return within(device_memory, address, 1) ? 2 : within(pinned_memory, address, 1) ? 1 : 0;
}
Object* runtime_memcpy(Handle to, Handle from, size_t size, int kind, int)
{
    Error error = check(0);  // [P] a synchronous call uses the default stream, and waits
    if (!error) error = if_capturing(any, capture_unsupported);
    return done(error ? error : copy(to, from, size, kind, 0));
}
Object* runtime_memcpyAsync(Handle to, Handle from, size_t size, int kind, Handle stream, int)
{
    return done(copy(to, from, size, kind, stream));
}
Object* runtime_memset(Handle address, int value, size_t size, int)
{
    return done(submit(0, "memset", "memset", [=] { memset((void*)address, value, size); }));
}
Object* runtime_memsetAsync(Handle address, int value, size_t size, Handle stream, int)
{
    return done(submit(stream, "memset", "memset", [=] { memset((void*)address, value, size); }));
}

Handle runtime_streamCreateWithFlags(unsigned flags, int)
{
    Stream* stream = new Stream{!(flags & 1)};  // cudaStreamNonBlocking
    streams.insert(stream);
    return (Handle)stream;
}
Handle runtime_streamCreateWithPriority(unsigned flags, int, int) { return runtime_streamCreateWithFlags(flags, 0); }
Object* runtime_streamDestroy(Handle stream, int)
{
    invalidate(success, get(stream).capture);
    streams.erase((Stream*)stream);
    delete (Stream*)stream;
    return done(success);
}
Object* runtime_streamSynchronize(Handle stream, int) { return done(check_wait(stream)); }
Object* runtime_streamQuery(Handle stream, int) { return PyLong_FromLong(check_wait(stream)); }
Object* runtime_deviceSynchronize(int)
{
    return done(if_capturing(any, capture_unsupported));  // [P] the device includes its streams
}
Object* runtime_streamBeginCapture(Handle handle, int, int* options)  // options: how many are given, mode
{
    if (is_legacy(handle)) return done(capture_unsupported);
    Stream& stream = get(handle);
    if (stream.capture) return done(invalidate(illegal_state, stream.capture));
    bool relaxed = !options || options[0] < 1 || options[1] == 2;
    stream.capture.reset(new Capture{{}, &stream, relaxed});
    stream.last.clear();
    return done(success);
}
Handle runtime_streamEndCapture(Handle stream, int)
{
    Graph* graph = nullptr;
    Error error = is_legacy(stream) ? illegal_state : end_capture(get(stream), &graph);
    return done_with(error, (Handle)graph);
}
int runtime_streamIsCapturing(Handle stream, int)
{
    if (is_legacy(stream)) {  // here the only error that invalidates nothing
        auto prevents = [](Stream* each) { return each->blocking && each->capture; };
        return done_with(std::any_of(streams.begin(), streams.end(), prevents) ? capture_implicit : success, 0);
    }
    const auto& capture = get(stream).capture;
    if (capture && capture->invalid) PyErr_Format(PyExc_RuntimeError, "the capture has been invalidated");
    return capture != nullptr;
}

Handle runtime_eventCreateWithFlags(unsigned, int) { return (Handle) new Event; }
Object* runtime_eventDestroy(Event* event, int) { return delete event, done(success); }
Object* runtime_eventSynchronize(Event* event, int) { return done(check_wait(*event)); }
Object* runtime_eventQuery(Event* event, int) { return PyLong_FromLong(check_wait(*event)); }
Object* runtime_eventRecord(Event* event, Handle stream, int)
{
    if (Error error = check(stream)) return done(error);
    *event = is_legacy(stream) ? Event{} : Event{get(stream).capture, get(stream).last};
    return done(success);
}
Object* runtime_streamWaitEvent(Handle stream, Event* event, int, void*) { return done(wait_event(stream, *event)); }

Handle runtime_graphInstantiate(Graph* graph, int) { return (Handle) new Graph(*graph); }
Object* runtime_graphDestroy(Graph* graph, int) { return done(success); }  // kept for pretended_nodes
Object* runtime_graphExecDestroy(Graph* graph, int) { return delete graph, done(success); }
Object* runtime_graphLaunch(Graph* graph, Handle stream, int)
{
    return done(submit(stream, "graph", "graph", [=] { replay(*graph); }));
}

struct Function {
    std::string name;
    Work (*bind)(const unsigned* shape, void** pointers);
};
Handle driver_moduleLoadData(Object* image, int)
{
    char* data;
    intptr_t size;
    PyBytes_AsStringAndSize(image, &data, &size);
    char path[] = "/tmp/pretended_gpu_XXXXXX";
    int file = mkstemp(path);
    void* library = write(file, data, size) == size ? dlopen(path, RTLD_NOW) : nullptr;
    close(file);
    unlink(path);
    if (!library) PyErr_Format(PyExc_RuntimeError, "%s", dlerror());
    return (Handle)library;
}
Object* driver_moduleUnload(Handle, int) { return done(success); }  // a graph may still use its kernels
Handle driver_moduleGetFunction(Handle library, Object* name, int)
{
    std::string text = PyUnicode_AsUTF8(name);
    void* bind = dlsym((void*)library, ("bind_" + text).c_str());
    if (bind) return (Handle) new Function{text, (decltype(Function::bind))bind};
    PyErr_Format(PyExc_RuntimeError, "no kernel %s", text.c_str());
    return 0;
}
int driver_funcGetAttribute(int attribute, Handle, int) { return attribute == 0 ? 1024 : 0; }  // threads per block
Object* driver_launchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z, unsigned shared_bytes, Handle stream, void** pointers,
                            Handle, int)
{
    if (block_x * block_y * block_z > 1024 || grid_y > 65535 || grid_z > 65535) return done(invalid_value);
    unsigned shape[] = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes};
    return done(submit(stream, "kernel", function->name, function->bind(shape, pointers)));
}

// The nodes of the graph captured last, a line each: kind, name, and the nodes that it needs.
Object* pretended_nodes()
{
    std::string lines;
    for (const Node& node : last_captured->nodes) {
        lines += node.kind + " " + node.name;
        for (int needed : node.needs) lines += " " + std::to_string(needed);
        lines += "\n";
    }
    return Py_BuildValue("s", lines.c_str());
}
}
