//go:build linux

package processtest

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

const (
	// childVariable holds the settings of a child. Where it is not set, this is
	// no child.
	childVariable = "HOLDFAST_TEST_CHILD"

	// patience is how long a child may take to end once its stdin is closed.
	patience = 20 * time.Second

	// ExitCode is how a child ends that was told to "exit".
	ExitCode = 7
)

// Lock is the lock under test as one client has it.
type Lock struct {
	// Acquire takes it. The argument is the order's: the package under test
	// says what it means.
	Acquire func(ctx context.Context, argument string) (*holdfast.Lease, error)
	// Downgrade is nil where there is none.
	Downgrade func(ctx context.Context, l *holdfast.Lease) (*holdfast.Lease, error)
}

// Maker makes the lock under test for a client.
type Maker func(c *holdfast.Client, set Settings) Lock

// Order is something that a child can be told to do. Each runs on a goroutine of
// its own; ctx ends when the child is to end.
type Order func(ctx context.Context, w *Worker, argument string)

// Worker is a child's side.
type Worker struct {
	Lock
	Settings Settings
	Redis    *redis.Client

	t          *testing.T
	make       Maker
	client     *holdfast.Client
	orders     map[string]Order
	background sync.WaitGroup

	out sync.Mutex // keeps lines whole

	mu     sync.Mutex
	leases []*holdfast.Lease // taken by "lock" and not released; orders are about the last
}

// Child is the body of TestChildProcess. It returns at once if this process is
// no child. Else it obeys: "lock", "renew", "release", "watch" and "exit", see
// there, and the orders given.
func Child(t *testing.T, maker Maker, orders map[string]Order) {
	t.Helper()
	given := os.Getenv(childVariable)
	if given == "" {
		return
	}
	w := newWorker(t, given, maker, orders)
	ctx, cancel := context.WithCancel(t.Context())
	w.Say(Report{Event: "ready"})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		what, argument, _ := strings.Cut(lines.Text(), " ")
		w.background.Go(func() { w.obey(ctx, what, argument) })
	}
	hanging := time.AfterFunc(patience, func() { panic("the child does not end") })
	cancel()
	w.background.Wait()
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	if err := w.client.Close(closing); err != nil {
		t.Error(err)
	}
	_ = w.Redis.Close()
	hanging.Stop()
}

func newWorker(t *testing.T, given string, maker Maker, orders map[string]Order) *Worker {
	t.Helper()
	w := &Worker{t: t, make: maker, orders: orders}
	if err := json.Unmarshal([]byte(given), &w.Settings); err != nil {
		t.Fatal(err)
	}
	w.Redis = redis.NewClient(&redis.Options{
		Addr: w.Settings.Addr, ReadTimeout: w.Settings.Timeout, WriteTimeout: w.Settings.Timeout,
	})
	w.client, w.Lock = w.newLock()
	if w.Settings.Rough {
		return w
	}
	if err := w.Redis.Ping(t.Context()).Err(); err != nil { // opens the connection
		t.Fatal(err)
	}
	return w
}

func (w *Worker) newLock() (*holdfast.Client, Lock) {
	c, err := holdfast.New(w.Redis)
	if err != nil {
		panic(err)
	}
	return c, w.make(c, w.Settings)
}

// Another is the same lock on a client of its own, which nobody closes: for
// what ends only with the process.
func (w *Worker) Another() Lock {
	_, l := w.newLock()
	return l
}

// Go runs f beside the orders. The child does not end before it has returned.
func (w *Worker) Go(f func()) { w.background.Go(f) }

// Say reports.
func (w *Worker) Say(r Report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	w.out.Lock()
	defer w.out.Unlock()
	// One write, which is whole for the reader even if the process dies.
	_, _ = os.Stdout.Write(append(line, '\n')) // without a reader this process ends anyway
}

// obey says "begun" just before it does what was ordered, and what came of it
// just after.
func (w *Worker) obey(ctx context.Context, what, argument string) {
	w.Say(Report{Event: "begun"})
	switch what {
	case "lock":
		w.lock(ctx, argument)
	case "renew":
		w.Say(Report{Event: "renewed"}.With(w.last().Renew(ctx)))
	case "release":
		lease := w.pop()
		at := Monotonic()
		w.Say(Report{Event: "released", At: at}.With(lease.Release(ctx)))
	case "watch":
		w.watch(ctx, w.last(), argument)
	case "exit":
		os.Exit(ExitCode)
	default:
		w.orders[what](ctx, w, argument)
	}
}

// lock acquires and answers with the time at which that had returned.
func (w *Worker) lock(ctx context.Context, argument string) {
	lease, err := w.Acquire(ctx, argument)
	r := Report{Event: "locked", Argument: argument, At: Monotonic()}
	if err != nil {
		r.Event = "refused"
		w.Say(r.With(err))
		return
	}
	w.mu.Lock()
	w.leases = append(w.leases, lease)
	w.mu.Unlock()
	r.ID, r.Token = lease.ID(), lease.Token()
	w.Say(r)
}

// last is the lease that the last "lock" took; nil if there is none, which is an
// error for each of its methods.
func (w *Worker) last() *holdfast.Lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.leases) == 0 {
		return nil
	}
	return w.leases[len(w.leases)-1]
}

func (w *Worker) pop() *holdfast.Lease {
	lease := w.last()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases = w.leases[:max(0, len(w.leases)-1)]
	return lease
}

// watch looks at the lease without a pause until it is over, by its Err or by
// that of its Context, and answers with the time of the last look that found it
// held: read before that look, so that the lease claimed to be held at that time
// or later. 0 if no look did.
func (w *Worker) watch(ctx context.Context, lease *holdfast.Lease, how string) {
	look := lease.Err
	if how == "context" {
		look = lease.Context(ctx).Err
	}
	var last time.Duration
	for ctx.Err() == nil {
		at := Monotonic()
		if look() != nil {
			break
		}
		last = at
	}
	w.Say(Report{Event: "over", At: last}.With(lease.Err()))
}
