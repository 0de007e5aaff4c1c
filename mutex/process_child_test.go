//go:build linux

package mutex_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/mutex"
)

// TestChildProcess is no test: it is what the other processes of the tests in
// process_test.go run.
func TestChildProcess(t *testing.T) {
	processtest.Child(t, newLock, map[string]processtest.Order{"cycle": cycleOn, "crowd": crowd})
}

func newLock(c *holdfast.Client, set processtest.Settings) processtest.Lock {
	m := mutex.New(c, set.Name, set.Options()...)
	return processtest.Lock{
		Acquire: func(ctx context.Context, _ string) (*holdfast.Lease, error) { return m.Lock(ctx) },
	}
}

// cycle is one turn of a child that was ordered to "cycle".
type cycle struct {
	At    time.Duration // Lock had returned
	Until time.Duration // just before Release
	Token int64
	Wrote bool // the register
}

// cycleOn locks, adds one to the register by an unprotected read and write, and
// releases, until the register has the value limit.
func cycleOn(ctx context.Context, w *processtest.Worker, limit string) {
	end, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		panic(err)
	}
	var all []cycle
	for more := true; more; {
		c, err := cycleOnce(ctx, w, end)
		if err != nil {
			w.Say(processtest.Report{Event: "refused"}.With(err))
			return
		}
		all = append(all, c)
		more = c.Wrote
	}
	for _, c := range all { // not before the end: the pipe must not slow them down
		w.Say(processtest.Report{Event: "cycle"}.Carrying(c))
	}
	w.Say(processtest.Report{Event: "done"})
}

func cycleOnce(ctx context.Context, w *processtest.Worker, end int64) (cycle, error) {
	lease, err := w.Acquire(ctx, "")
	at := processtest.Monotonic()
	if err != nil {
		return cycle{}, err
	}
	value, err := w.Redis.Get(ctx, registerKey).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return cycle{}, err
	}
	wrote := value < end
	if wrote {
		if err := w.Redis.Set(ctx, registerKey, value+1, 0).Err(); err != nil {
			return cycle{}, err
		}
	}
	c := cycle{At: at, Until: processtest.Monotonic(), Token: lease.Token(), Wrote: wrote}
	return c, lease.Release(ctx)
}

// crowd lets three goroutines wait: one as the holder's neighbour, two on
// clients of their own, so that all three have a place in Redis. They never
// come to an end but with the process.
func crowd(ctx context.Context, w *processtest.Worker, _ string) {
	for i := range 3 {
		l := w.Lock
		if i > 0 {
			l = w.Another()
		}
		w.Go(func() {
			_, err := l.Acquire(ctx, "")
			w.Say(processtest.Report{Event: "crowd"}.With(err))
		})
	}
}
