package holdfast

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/kind"
)

// lockOf is a mutex of a client of its own, on an embedded server.
func lockOf(t *testing.T, refuse func(cmd redis.Cmder) bool, opts ...Option) *Core {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ContextTimeoutEnabled: true})
	rdb.AddHook(refuser(refuse))
	c, err := New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = rdb.Close()
	})
	return NewCore(c, kind.Mutex, "k", opts...)
}

// refuser answers some commands as a server that loads its data does.
type refuser func(cmd redis.Cmder) bool

func (refuser) DialHook(next redis.DialHook) redis.DialHook { return next }
func (refuser) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r refuser) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if r != nil && r(cmd) {
			cmd.SetErr(loading{})
			return loading{}
		}
		return next(ctx, cmd)
	}
}

type loading struct{}

func (loading) Error() string { return "LOADING Redis is loading the dataset in memory" }
func (loading) RedisError()   {}

// A front whose first acquire fails is given the lock before it tries again: the
// next one takes the place that nobody has asked for yet.
func TestGivenBeforeItsPlaceIsAsked(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	failing.Store(true)
	failed := make(chan struct{}, 1000)
	k := lockOf(t, func(cmd redis.Cmder) bool {
		if !failing.Load() || !slices.Contains(cmd.Args(), modeLock) {
			return false
		}
		failed <- struct{}{}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 2)
	lock := func() {
		lease, err := k.Lock(ctx)
		if err == nil {
			err = lease.Release(ctx)
		}
		done <- err
	}
	go lock()
	<-failed
	go lock()
	for range 4 { // so that the next try is some time off
		<-failed
	}
	failing.Store(false)
	lease, err := k.TryLock(ctx)
	switch {
	case errors.Is(err, ErrNotAcquired): // the machine is so slow that the front tried again first
	case err != nil:
		t.Fatal(err)
	default:
		if err := lease.Release(ctx); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The renewals of a lease that was passed on are its own: those of the one before
// were over.
func TestMaxHoldBeginsWithThePass(t *testing.T) {
	t.Parallel()
	const ttl, most = 300 * time.Millisecond, 600 * time.Millisecond
	k := lockOf(t, nil, WithTTL(ttl), WithMaxHold(most))
	for range 20 {
		lease, err := k.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next := make(chan *Lease, 1)
		go func() {
			second, err := k.Lock(t.Context())
			if err != nil {
				t.Error(err)
			}
			next <- second
		}()
		time.Sleep(most - 15*time.Millisecond) // of work
		_ = lease.Release(t.Context())         // lost, if the machine was slow
		passed := <-next
		if passed == nil {
			return
		}
		begun, wasPassed := time.Now(), passed.t.turn > 0
		if wasPassed {
			<-passed.Done()
			if held := time.Since(begun); held < most-ttl/2 {
				t.Errorf("lost after %v: %v", held, passed.Err())
			}
			return
		}
		_ = passed.Release(t.Context()) // too slow to be passed on: again
	}
	t.Error("nothing was passed on")
}

// A try is no place in a lane, however many polls it is asked for.
func TestTryHasNoLane(t *testing.T) {
	t.Parallel()
	k := lockOf(t, nil)
	lease, err := k.TryLock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := k.register("", nil)
	if _, err := h.ask(t.Context(), modeTry); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Tick(time.Now()); !ok { // as by a subscription that comes while it pumps
		t.Error("it does not ask")
	}
	h.leave()
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
