//go:build linux

package torture_test

import (
	"context"
	"flag"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/reentrant"
	"github.com/holdfast-go/holdfast/rwlock"
	"github.com/holdfast-go/holdfast/semaphore"
)

var (
	length   = flag.Duration("time", 9*time.Second, "how long the faults last, over all rounds")
	givenRun = flag.Uint64("seed", 0, "repeats the choices of a run; 0: another each time")
	givenOne = flag.Int("round", 0, "only that round of the run, from 1; 0: all")
	wanted   = flag.String("faults", "", "only these, as in kill,restart; empty: all")
	kept     = flag.String("keep", "failures", "the directory for histories that fail")
)

// TestMain looks for goroutines that are left, in the children too.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestChildProcess is no test: it is what the other processes run.
func TestChildProcess(t *testing.T) {
	orders := history.Orders()
	halted := make(chan struct{})
	halt := orders["halt"]
	orders["halt"] = func(ctx context.Context, w *processtest.Worker, argument string) {
		close(halted)
		halt(ctx, w, argument)
	}
	orders["calls"] = func(ctx context.Context, w *processtest.Worker, argument string) { call(ctx, w, argument, halted) }
	processtest.Child(t, newLock, orders)
}

// The locks that all processes share, and what their leases last.
const (
	permits = 3 // of the semaphore

	ttl   = 400 * time.Millisecond
	slow  = 2 * ttl
	brief = 60 * time.Millisecond // not renewed
)

// lockNames are those of the traffic, each of the kind that it is named after.
var lockNames = []string{"mutex", "reentrant", "rwlock", "semaphore"}

func keyOf(lock string) string { return "holdfast:" + lock + ":" + lock }

// locks are the four, with the same options.
type locks struct {
	mutex     *mutex.Mutex
	reentrant *reentrant.Mutex
	rwlock    *rwlock.RWLock
	semaphore *semaphore.Semaphore
}

func newLocks(c *holdfast.Client, opts ...holdfast.Option) locks {
	return locks{
		mutex:     mutex.New(c, "mutex", opts...),
		reentrant: reentrant.New(c, "reentrant", opts...),
		rwlock:    rwlock.New(c, "rwlock", opts...),
		semaphore: semaphore.New(c, "semaphore", permits, opts...),
	}
}

// newLock reads "[try] [brief|slow] mutex | reentrant [<owner>] | read | write |
// permits <n>".
func newLock(c *holdfast.Client, set processtest.Settings) processtest.Lock {
	lasting := newLocks(c, set.Options()...)
	slowly := newLocks(c, holdfast.WithTTL(slow))
	briefly := newLocks(c, holdfast.WithTTL(brief), holdfast.WithoutRenewal())
	return processtest.Lock{
		Acquire: func(ctx context.Context, argument string) (*holdfast.Lease, error) {
			of := lasting
			argument, tries := strings.CutPrefix(argument, "try ")
			if rest, ok := strings.CutPrefix(argument, "brief "); ok {
				of, argument = briefly, rest
			} else if rest, ok := strings.CutPrefix(argument, "slow "); ok {
				of, argument = slowly, rest
			}
			return of.acquire(ctx, argument, tries)
		},
		Downgrade: lasting.rwlock.Downgrade,
	}
}

func (l locks) acquire(ctx context.Context, what string, tries bool) (*holdfast.Lease, error) {
	what, argument, _ := strings.Cut(what, " ")
	var locker holdfast.Locker
	switch what {
	case "mutex":
		locker = l.mutex
	case "reentrant":
		locker = l.reentrant
		if argument != "" {
			ctx = reentrant.WithOwner(ctx, argument)
		}
	case "read":
		locker = l.rwlock.RLocker()
	case "write":
		locker = l.rwlock
	default: // permits
		n, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			panic(err)
		}
		if tries {
			return l.semaphore.TryAcquire(ctx, n)
		}
		return l.semaphore.Acquire(ctx, n)
	}
	if tries {
		return locker.TryLock(ctx)
	}
	return locker.Lock(ctx)
}

// requests are what the traffic asks for, one as often as the other.
func requests() []history.Request {
	var all []history.Request
	for _, how := range []struct {
		prefix string
		ttl    time.Duration
	}{{"", ttl}, {"", ttl}, {"slow ", slow}, {"brief ", brief}, {"try ", ttl}, {"try brief ", brief}} {
		for _, q := range []history.Request{
			{Lock: "mutex", Argument: "mutex", Weight: 1, Limit: 1, Turns: true},
			{Lock: "reentrant", Argument: "reentrant", Weight: 1, Limit: 1},
			{Lock: "reentrant", Argument: "reentrant alice", Weight: 1, Limit: 1, Owner: "alice"},
			{Lock: "rwlock", Argument: "read", Weight: 1, Limit: holdfast.All},
			{Lock: "rwlock", Argument: "write", Weight: holdfast.All, Limit: holdfast.All},
			{Lock: "semaphore", Argument: "permits 1", Weight: 1, Limit: permits},
			{Lock: "semaphore", Argument: "permits 2", Weight: 2, Limit: permits},
		} {
			q.Argument, q.TTL = how.prefix+q.Argument, how.ttl
			all = append(all, q)
		}
	}
	return all
}
