//go:build linux

package mutex_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/mutex"
)

// childVariable holds the settings of a child. Where it is not set, this is no
// child.
const childVariable = "HOLDFAST_MUTEX_CHILD"

// childPatience is how long a child may take to end once its stdin is closed.
const childPatience = 20 * time.Second

// exitCode is how a child ends that was told to exit.
const exitCode = 7

// settings is what a child starts with.
type settings struct {
	Addr, Name     string
	TTL            time.Duration
	Every          time.Duration // between two polls; 0: as by default
	WithoutRenewal bool
}

func (s settings) options() []holdfast.Option {
	opts := []holdfast.Option{holdfast.WithTTL(s.TTL)}
	if s.Every > 0 {
		opts = append(opts, holdfast.WithBackOff(func() holdfast.BackOff { return every(s.Every) }))
	}
	if s.WithoutRenewal {
		opts = append(opts, holdfast.WithoutRenewal())
	}
	return opts
}

// every is a BackOff that never changes.
type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

// report is one line from a child. Times are monotonic's.
type report struct {
	Event string
	At    time.Duration `json:",omitempty"` // see the order that it answers
	Until time.Duration `json:",omitempty"` // of a cycle: just before Release
	ID    string        `json:",omitempty"`
	Token int64         `json:",omitempty"`
	Wrote bool          `json:",omitempty"` // of a cycle: the register
	Error string        `json:",omitempty"`
	Lost  bool          `json:",omitempty"` // the error Is ErrLost
}

func (r report) with(err error) report {
	if err != nil {
		r.Error, r.Lost = err.Error(), errors.Is(err, holdfast.ErrLost)
	}
	return r
}

// monotonic reads CLOCK_MONOTONIC, which is one clock for all processes of a
// machine, runs on while a process is stopped, and is what Go's own monotonic
// time is on Linux. Package time gives no reading of it that another process
// could compare.
func monotonic() time.Duration {
	const clockMonotonic = 1
	var now syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		panic(errno)
	}
	return time.Duration(now.Nano())
}

// worker is a child's side of the tests with processes.
type worker struct {
	t          *testing.T
	set        settings
	rdb        *redis.Client
	client     *holdfast.Client
	mutex      *mutex.Mutex
	lease      atomic.Pointer[holdfast.Lease] // the one that orders are about
	background sync.WaitGroup
	out        sync.Mutex // keeps lines whole
}

// TestChildProcess is no test: it is what the other processes of the tests in
// process_test.go run, which start this binary again. It takes orders from
// stdin, one a line, and ends when stdin does. The leak check of TestMain then
// covers it, too.
func TestChildProcess(t *testing.T) {
	given := os.Getenv(childVariable)
	if given == "" {
		return
	}
	w := newWorker(t, given)
	ctx, cancel := context.WithCancel(t.Context())
	w.say(report{Event: "ready"})
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		what, argument, _ := strings.Cut(orders.Text(), " ")
		w.background.Go(func() { w.obey(ctx, what, argument) })
	}
	hanging := time.AfterFunc(childPatience, func() { panic("the child does not end") })
	cancel()
	w.background.Wait()
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), childPatience)
	defer stop()
	if err := w.client.Close(closing); err != nil {
		t.Error(err)
	}
	_ = w.rdb.Close()
	hanging.Stop()
}

func newWorker(t *testing.T, given string) *worker {
	t.Helper()
	w := &worker{t: t}
	if err := json.Unmarshal([]byte(given), &w.set); err != nil {
		t.Fatal(err)
	}
	w.rdb = redis.NewClient(&redis.Options{Addr: w.set.Addr})
	w.client, w.mutex = w.newMutex()
	if err := w.rdb.Ping(t.Context()).Err(); err != nil { // opens the connection
		t.Fatal(err)
	}
	return w
}

func (w *worker) newMutex() (*holdfast.Client, *mutex.Mutex) {
	c, err := holdfast.New(w.rdb)
	if err != nil {
		panic(err)
	}
	return c, mutex.New(c, w.set.Name, w.set.options()...)
}

func (w *worker) say(r report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	w.out.Lock()
	defer w.out.Unlock()
	fmt.Printf("%s\n", line)
}

// obey says "begun" just before it does what was ordered, and what came of it
// just after.
func (w *worker) obey(ctx context.Context, what, argument string) {
	lease := w.lease.Load()
	w.say(report{Event: "begun"})
	switch what {
	case "lock":
		w.lock(ctx)
	case "renew":
		err := lease.Renew(ctx)
		w.say(report{Event: "renewed", At: monotonic()}.with(err))
	case "release": // At: before the call
		at := monotonic()
		w.say(report{Event: "released", At: at}.with(lease.Release(ctx)))
	case "watch":
		w.watch(ctx, lease, argument)
	case "cycle":
		w.cycle(ctx, argument)
	case "crowd":
		w.crowd(ctx)
	case "exit":
		os.Exit(exitCode)
	default:
		panic(what)
	}
}

// lock answers with the time at which Lock had returned.
func (w *worker) lock(ctx context.Context) {
	lease, err := w.mutex.Lock(ctx)
	at := monotonic()
	if err != nil {
		w.say(report{Event: "refused"}.with(err))
		return
	}
	w.lease.Store(lease)
	w.say(report{Event: "locked", At: at, ID: lease.ID(), Token: lease.Token()})
}

// watch looks at the lease without a pause until it is over, and answers with
// the time of the last look that found it held: read before that look, so that
// the lease claimed to be held at that time or later. 0 if no look did.
func (w *worker) watch(ctx context.Context, lease *holdfast.Lease, how string) {
	look := lease.Err
	if how == "context" {
		look = lease.Context(ctx).Err
	}
	var last time.Duration
	for ctx.Err() == nil {
		at := monotonic()
		if look() != nil {
			break
		}
		last = at
	}
	w.say(report{Event: "over", At: last}.with(lease.Err()))
}

// cycle locks, adds one to the register by an unprotected read and write, and
// releases, until the register has the value limit.
func (w *worker) cycle(ctx context.Context, limit string) {
	end, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		panic(err)
	}
	var cycles []report
	for more := true; more; {
		r, err := w.once(ctx, end)
		if err != nil {
			w.say(report{Event: "refused"}.with(err))
			return
		}
		cycles = append(cycles, r)
		more = r.Wrote
	}
	for _, r := range cycles { // not before the end: the pipe must not slow them down
		w.say(r)
	}
	w.say(report{Event: "done"})
}

func (w *worker) once(ctx context.Context, end int64) (report, error) {
	lease, err := w.mutex.Lock(ctx)
	at := monotonic()
	if err != nil {
		return report{}, err
	}
	value, err := w.rdb.Get(ctx, registerKey).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return report{}, err
	}
	wrote := value < end
	if wrote {
		if err := w.rdb.Set(ctx, registerKey, value+1, 0).Err(); err != nil {
			return report{}, err
		}
	}
	r := report{Event: "cycle", At: at, Until: monotonic(), Token: lease.Token(), Wrote: wrote}
	return r, lease.Release(ctx)
}

// crowd lets three goroutines wait: one as the holder's neighbour, two on
// clients of their own, so that all three have a place in Redis. They never
// come to an end but with the process.
func (w *worker) crowd(ctx context.Context) {
	for i := range 3 {
		m := w.mutex
		if i > 0 {
			_, m = w.newMutex() //nolint:contextcheck // a client has a life of its own
		}
		w.background.Go(func() {
			_, err := m.Lock(ctx)
			w.say(report{Event: "crowd"}.with(err))
		})
	}
}
