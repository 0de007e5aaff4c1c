package mutex_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/mutex"
)

// What is passed from goroutine to goroutine inside a process. What every lock
// promises is in the contract suite, and the histories; here is what only this can
// break.

// neighbours has n goroutines that lock again and again, and calls visit with each
// lease, until the returned function is called, which waits for them.
func neighbours(t *testing.T, n int, l holdfast.Locker, visit func(*holdfast.Lease)) (stop func()) {
	t.Helper()
	var over atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !over.Load() {
				lease, err := l.Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				visit(lease)
				if err := lease.Release(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}

// passed tells whether a lease came from a neighbour, without Redis.
func passed(l *holdfast.Lease) bool { return strings.Contains(l.ID(), ".") }

// queued takes the lock with one goroutine, and lets another wait for it until it
// has a place in Redis.
func queued(t *testing.T, e *contract.Env, m *mutex.Mutex) (*holdfast.Lease, <-chan contract.Result) {
	t.Helper()
	lease := contract.Lock(t, m)
	waiting := contract.Go(t.Context(), m)
	e.AwaitWaiters(t, mutex.New(e.Client(t), m.Name()), 1)
	return lease, waiting
}

// pass has the lock pass from one goroutine to another, and returns both leases. It
// tries until it does: a test can be so slow that the turn is over first.
func pass(t *testing.T, e *contract.Env, m *mutex.Mutex, first func(*holdfast.Lease)) (from, to *holdfast.Lease) {
	t.Helper()
	for range 100 {
		lease, waiting := queued(t, e, m)
		if first != nil {
			first(lease)
		}
		contract.Release(t, lease)
		next := contract.Get(t, waiting).Lease
		if passed(next) {
			return lease, next
		}
		contract.Release(t, next)
	}
	t.Fatal("nothing is passed on")
	return nil, nil
}

func TestPassingCostsNoCommand(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		const wanted = 20_000
		m := mutex.New(e.Client(t), "local")
		var cycles atomic.Int64
		enough := make(chan struct{})
		stop := neighbours(t, 8, m, func(*holdfast.Lease) {
			if cycles.Add(1) == 1000 {
				close(enough)
			}
		})
		<-enough
		count := e.Real.CountClientCommands(t)
		before := cycles.Load()
		contract.Within(t, time.Minute, "enough cycles", func() bool { return cycles.Load() > before+wanted })
		sent, done := count.Total(), cycles.Load()-before
		stop()
		if float64(sent) > 0.05*float64(done) {
			t.Errorf("%d cycles sent %d commands: %v", done, sent, count.ByName())
		}
	})
}

// Each lease has an ID and a token of its own, above all before it, whoever had
// them: a neighbour, or somebody else after a release, a crash, or a loss of data.
func TestPassedTokensGrow(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t), "tokens")
		var last int64
		seen := map[string]bool{}
		gifts := 0
		var mu sync.Mutex // the lock is Redis's, of which the race detector knows nothing
		look := func(l *holdfast.Lease) {
			mu.Lock()
			defer mu.Unlock()
			if l.Token() <= last || seen[l.ID()] {
				t.Errorf("token %d after %d, ID %s, seen: %v", l.Token(), last, l.ID(), seen[l.ID()])
			}
			last, seen[l.ID()] = l.Token(), true
			if passed(l) {
				gifts++
			}
		}
		for range 20 {
			stop := neighbours(t, 4, m, look)
			time.Sleep(5 * time.Millisecond) // of work; nothing depends on it
			stop()
			lease := contract.Lock(t, mutex.New(e.Client(t), "tokens"))
			look(lease)
			contract.Release(t, lease)
		}
		if gifts == 0 {
			t.Error("nothing was passed on")
		}
		// The data is lost while a passed lease is held.
		_, second := pass(t, e, m, look)
		look(second)
		if err := e.Redis.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		third := contract.Lock(t, mutex.New(e.Client(t), "tokens"))
		look(third)
		contract.Release(t, third)
		if err := second.Release(t.Context()); !errors.Is(err, holdfast.ErrLost) {
			t.Errorf("Release of a lease whose data was lost: %v", err)
		}
	})
}

// The tokens to come are reserved, so that a server clock that steps back does not
// give them again when the process has died. Its release gives those back that it
// did not use.
func TestTokensAreReserved(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t), "reserved")
		last := func() int64 {
			n, err := e.Redis.Get(t.Context(), "holdfast:t:{holdfast:mutex:reserved}holdfast:mutex:reserved").Int64()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		_, second := pass(t, e, m, func(first *holdfast.Lease) {
			if got := last(); got != first.Token()+10_000 {
				t.Errorf("the last token is %d, the holder's %d", got, first.Token())
			}
		})
		contract.Release(t, second)
		if got := last(); got != second.Token() {
			t.Errorf("the last token is %d after %d, of %s", got, second.Token(), second.ID())
		}
	})
}

// A process that has the lock to itself hears of the first one elsewhere that
// waits, and soon lets it in, although it never asks.
func TestFirstRemoteWaiterIsHeard(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return never{} })
		m := mutex.New(e.Client(t), "heard", slow)
		var cycles atomic.Int64
		stop := neighbours(t, 4, m, func(*holdfast.Lease) {
			cycles.Add(1)
			time.Sleep(time.Millisecond) // of work
		})
		defer stop()
		other := mutex.New(e.Client(t), "heard", slow)
		for range 5 {
			before := cycles.Load()
			contract.Within(t, time.Minute, "many cycles", func() bool { return cycles.Load() > before+50 })
			before = cycles.Load()
			lease := contract.Lock(t, other)
			// Not heard of, it would have to wait until the reserved tokens are used up.
			if n := cycles.Load() - before; n > 2000 {
				t.Fatalf("%d leases went before it", n)
			}
			contract.Release(t, lease)
		}
	})
}

// never is a BackOff that is as slow as it can be.
type never struct{}

func (never) NextBackOff() time.Duration { return time.Hour }
func (never) Reset()                     {}

// A lease that is passed on for long is renewed all the same.
func TestPassedLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 2 * time.Second
		m := mutex.New(e.Client(t, holdfast.WithTTL(ttl)), "renewed")
		var gifts atomic.Int64
		began := time.Now()
		stop := neighbours(t, 3, m, func(l *holdfast.Lease) {
			if passed(l) {
				gifts.Add(1)
			}
			if err := l.Err(); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * time.Millisecond) // of work
		})
		contract.Eventually(t, "some TTLs to pass", func() bool { return time.Since(began) > 3*ttl })
		stop()
		if gifts.Load() == 0 {
			t.Error("nothing was passed on")
		}
	})
}

// The lease before is over, its Done closed and its contexts ended, when the next
// one begins; its second Release, or Renew, concerns nobody else's.
func TestPassingEndsTheLeaseBefore(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t), "before")
		var contexts []context.Context
		first, second := pass(t, e, m, func(l *holdfast.Lease) { contexts = append(contexts, l.Context(t.Context())) })
		ctx := contexts[len(contexts)-1]
		select {
		case <-first.Done():
		default:
			t.Error("Done is open")
		}
		if err := ctx.Err(); err == nil || !errors.Is(context.Cause(ctx), holdfast.ErrReleased) {
			t.Errorf("its context: %v, %v", err, context.Cause(ctx))
		}
		for what, err := range map[string]error{
			"Err": first.Err(), "Release": first.Release(t.Context()), "Renew": first.Renew(t.Context()),
		} {
			if !errors.Is(err, holdfast.ErrReleased) {
				t.Errorf("%s of the lease before: %v", what, err)
			}
		}
		if err := second.Renew(t.Context()); err != nil {
			t.Errorf("Renew: %v", err)
		}
		if _, err := m.Lock(second.Context(t.Context())); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("Lock on the context of the lease: %v", err)
		}
		if first.Deadline().After(time.Now()) {
			t.Error("the deadline of the lease before is to come")
		}
		contract.Release(t, second)
	})
}

// What is taken away is lost to whoever has it, and is not passed on.
func TestPassedLeaseIsLost(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t), "lost")
		_, second := pass(t, e, m, nil)
		next := contract.Go(t.Context(), m)
		probe := mutex.New(e.Client(t), "lost")
		e.AwaitWaiters(t, probe, 1)
		if err := probe.ForceRelease(t.Context(), second.ID()); err != nil {
			t.Fatal(err)
		}
		third := contract.Get(t, next).Lease
		contract.Eventually(t, "the loss to be heard of", func() bool { return second.Err() != nil })
		var lost *holdfast.LostError
		if err := second.Err(); !errors.As(err, &lost) || lost.Reason != holdfast.LostTaken || lost.ID != second.ID() {
			t.Errorf("Err of the lease that was taken away: %v", err)
		}
		if passed(third) || third.Token() <= second.Token() || third.Err() != nil {
			t.Errorf("after it came %s with token %d after %d: %v", third.ID(), third.Token(), second.Token(), third.Err())
		}
		contract.Release(t, third)
	})
}

// A goroutine whose context ends just as it is given the lease passes it on.
func TestCancelledWhilePassed(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := mutex.New(e.Client(t), "cancelled")
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			lease := contract.Lock(t, m)
			first := contract.Go(ctx, m)
			second := contract.Go(t.Context(), m)
			go cancel()
			contract.Release(t, lease)
			if r := contract.Get(t, first); r.Err == nil {
				contract.Release(t, r.Lease)
			} else if !errors.Is(r.Err, context.Canceled) {
				t.Error(r.Err)
			}
			contract.Release(t, contract.Get(t, second).Lease)
		}
		e.NothingLeft(t)
	})
}

// Whoever gives its place up leaves it to a neighbour; the last one gives it back.
func TestPlaceIsKeptWhileWanted(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m, probe := mutex.New(e.Client(t), "place"), mutex.New(e.Client(t), "place")
		lease := contract.Lock(t, m)
		var cancels []context.CancelFunc
		var waiting []<-chan contract.Result
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cancels = append(cancels, cancel)
			waiting = append(waiting, contract.Go(ctx, m))
			e.AwaitWaiters(t, probe, 1)
		}
		for i, cancel := range cancels {
			cancel()
			if r := contract.Get(t, waiting[i]); !errors.Is(r.Err, context.Canceled) {
				t.Fatal(r.Err)
			}
		}
		e.AwaitWaiters(t, probe, 0)
		contract.Release(t, lease)
		// A place that a pass left for nobody leaves with the release.
		_, lease = pass(t, e, m, nil)
		contract.Release(t, lease)
		lease, err := m.TryLock(t.Context())
		if err != nil {
			t.Fatalf("TryLock of a free lock: %v", err)
		}
		contract.Release(t, lease)
		e.NothingLeft(t)
	})
}

// Whatever becomes of the place and of the lock while they pass it on, nobody waits
// for ever: what one is told that is given the lock meanwhile, the next one sees.
func TestPassingOutlivesDeletions(t *testing.T) {
	t.Parallel()
	const lock, queue = "holdfast:mutex:gone", "holdfast:q:{holdfast:mutex:gone}holdfast:mutex:gone"
	for name, keys := range map[string][]string{"lock": {lock}, "queue": {queue}, "both": {lock, queue}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
				often := holdfast.WithBackOff(func() holdfast.BackOff { return always{} })
				var cycles atomic.Int64
				var over atomic.Bool
				var all sync.WaitGroup
				for range 2 {
					m := mutex.New(e.Client(t, often, holdfast.WithTTL(500*time.Millisecond)), "gone")
					for range 4 {
						all.Go(func() {
							for !over.Load() {
								if lease, err := m.Lock(t.Context()); err != nil {
									t.Error(err)
								} else {
									_ = lease.Release(t.Context()) // lost, often
								}
								cycles.Add(1)
							}
						})
					}
				}
				for range 300 {
					before := cycles.Load()
					contract.Within(t, 20*time.Second, "the lock to be taken again", func() bool { return cycles.Load() > before+20 })
					if err := e.Redis.Del(t.Context(), keys...).Err(); err != nil {
						t.Fatal(err)
					}
				}
				over.Store(true)
				all.Wait()
				e.NothingLeft(t)
			})
		})
	}
}

// always is a BackOff that is as fast as it can be.
type always struct{}

func (always) NextBackOff() time.Duration { return time.Millisecond }
func (always) Reset()                     {}

// Close ends a lease that was passed on, and who waits for it.
func TestCloseEndsPassing(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		m := mutex.New(c, "closed")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					lease, err := m.Lock(t.Context())
					if errors.Is(err, holdfast.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if err = lease.Release(t.Context()); err != nil && !errors.Is(err, holdfast.ErrReleased) {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond) // of work
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		all.Wait()
		e.NothingLeft(t)
	})
}

// What a lease promises beyond Redis's lock cannot be passed on, and options that
// differ make waiters that differ.
func TestNotPassed(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		for name, opts := range map[string][2][]holdfast.Option{
			"without renewal": {{holdfast.WithoutRenewal()}, {holdfast.WithoutRenewal()}},
			"minimum hold":    {{holdfast.WithMinHold(time.Millisecond)}, {holdfast.WithMinHold(time.Millisecond)}},
			"another TTL":     {nil, {holdfast.WithTTL(20 * time.Second)}},
			"another holder":  {nil, {holdfast.WithHolder("another")}},
			"another limit":   {nil, {holdfast.WithMaxHold(time.Hour)}},
			"another BackOff": {nil, {holdfast.WithBackOff(func() holdfast.BackOff { return never{} })}},
		} {
			c := e.Client(t)
			lease := contract.Lock(t, mutex.New(c, name, opts[0]...))
			waiting := contract.Go(t.Context(), mutex.New(c, name, opts[1]...))
			e.AwaitWaiters(t, mutex.New(e.Client(t), name), 1)
			contract.Release(t, lease)
			next := contract.Get(t, waiting).Lease
			if passed(next) {
				t.Errorf("%s: %s was passed on", name, next.ID())
			}
			contract.Release(t, next)
		}
	})
}

// Those who observe hear of each lease.
func TestPassedLeasesAreObserved(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		events := make(chan holdfast.Event, 100)
		c := e.Client(t, holdfast.WithObserver(holdfast.ObserverFunc(func(_ context.Context, ev holdfast.Event) { events <- ev })))
		m := mutex.New(c, "observed")
		first, second := pass(t, e, m, nil)
		contract.Release(t, second)
		for _, want := range []struct {
			kind   holdfast.EventType
			lease  *holdfast.Lease
			handed bool
		}{
			{holdfast.EventAcquired, first, false},
			{holdfast.EventReleased, first, false},
			{holdfast.EventAcquired, second, true},
			{holdfast.EventReleased, second, false},
		} {
			got := <-events
			for got.ID != first.ID() && got.ID != second.ID() || got.Type == holdfast.EventRenewed {
				got = <-events // of a try to pass that was too slow; or by the subscription
			}
			if got.Type != want.kind || got.ID != want.lease.ID() || got.Token != want.lease.Token() ||
				got.HandedOver != want.handed || got.Err != nil {
				t.Errorf("%+v, want %v of %s", got, want.kind, want.lease.ID())
			}
		}
	})
}
