package semaphore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/semaphore"
)

// permits acquires n of s in the background.
type permits struct {
	*semaphore.Semaphore
	n int64
}

func (p permits) Lock(ctx context.Context) (*holdfast.Lease, error) { return p.Acquire(ctx, p.n) }

func (p permits) TryLock(ctx context.Context) (*holdfast.Lease, error) { return p.TryAcquire(ctx, p.n) }

func (p permits) Do(ctx context.Context, fn func(context.Context) error) error {
	return p.Semaphore.Do(ctx, p.n, fn)
}

// TestNeverMoreThanTheLimit: workers of several clients take 1 to 3 of 5.
func TestNeverMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const limit, clients, workers, jobs = 5, 3, 4, 15
		var used, most atomic.Int64
		var wg sync.WaitGroup
		for range clients {
			s := semaphore.New(e.Client(t), "jobs", limit)
			for worker := range workers {
				wg.Go(func() {
					for job := range jobs {
						n := int64(1 + (worker+job)%3)
						err := s.Do(t.Context(), n, func(context.Context) error {
							now := used.Add(n)
							most.Store(max(most.Load(), now))
							if now > limit {
								t.Errorf("%d permits of %d in use", now, limit)
							}
							used.Add(-n)
							return nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		t.Logf("%d permits in use at once", most.Load())
		e.NothingLeft(t)
	})
}

// TestAllAtOnceOrNone: a request for many waits for all, holds none meanwhile,
// and is passed by no request for one.
func TestAllAtOnceOrNone(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		a, b := semaphore.New(e.Client(t, holdfast.WithHolder("alice")), "many", 5), semaphore.New(e.Client(t), "many", 5)
		probe := permits{b, 5}
		three, err := a.Acquire(ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		var held *holdfast.HeldError
		if _, err = b.TryAcquire(ctx, 3); !errors.As(err, &held) || held.Holder != "alice" || held.Remaining <= 0 {
			t.Errorf("TryAcquire of more than is free: %v", err)
		}
		two, err := b.TryAcquire(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		big := contract.Go(ctx, permits{b, 4})
		e.AwaitWaiters(t, probe, 1)
		small := contract.Go(ctx, permits{a, 1})
		e.AwaitWaiters(t, probe, 2)
		contract.Release(t, two)
		if _, err := a.TryAcquire(ctx, 1); !errors.As(err, &held) || held.Holder != "" || held.Remaining != 0 || held.Waiters != 2 {
			t.Errorf("TryAcquire past the queue: %+v, %v", held, err)
		}
		if len(big) != 0 || len(small) != 0 {
			t.Error("served before there was room for the first")
		}
		contract.Release(t, three) // for both: 4 and 1
		first, second := contract.Get(t, big), contract.Get(t, small)
		if err := errors.Join(first.Err, second.Err); err != nil {
			t.Fatal(err)
		}
		if first.Lease.Token() >= second.Lease.Token() {
			t.Error("not in their order")
		}
		contract.Release(t, first.Lease)
		contract.Release(t, second.Lease)
		e.NothingLeft(t)
	})
}

// TestCancelledRequestMakesWay: the one behind a big request that gives up gets
// the room that there is.
func TestCancelledRequestMakesWay(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return every(time.Hour) })
		s := semaphore.New(e.Client(t, slow), "way", 3)
		one, err := s.Acquire(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		big := contract.Go(ctx, permits{s, 3})
		e.AwaitWaiters(t, permits{s, 3}, 1)
		small := contract.Go(t.Context(), permits{s, 2})
		e.AwaitWaiters(t, permits{s, 3}, 2)
		cancelled := time.Now()
		cancel()
		if r := contract.Get(t, big); !errors.Is(r.Err, context.Canceled) {
			t.Error(r.Err)
		}
		r := contract.Get(t, small)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(cancelled); d > 5*time.Second { // a poll comes after 10 s
			t.Errorf("served after %v", d)
		}
		contract.Release(t, r.Lease)
		contract.Release(t, one)
		e.NothingLeft(t)
	})
}

type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

// TestLimitChanges: two versions of a deployment, with limits of 5 and 10, run
// beside each other. Each request is judged by its own limit.
func TestLimitChanges(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		before, after := semaphore.New(e.Client(t), "limit", 5), semaphore.New(e.Client(t), "limit", 10)
		five, err := before.Acquire(ctx, 5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = before.TryAcquire(ctx, 1); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("a sixth of 5: %v", err)
		}
		four, err := after.TryAcquire(ctx, 4)
		if err != nil {
			t.Fatalf("a ninth of 10: %v", err)
		}
		if _, err = after.TryAcquire(ctx, 2); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("an eleventh of 10: %v", err)
		}
		waiting := contract.Go(ctx, permits{before, 1})
		e.AwaitWaiters(t, permits{after, 10}, 1)
		contract.Release(t, five) // 4 are in use: a fifth of 5 is free
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
		contract.Release(t, four)

		// And back: nothing has to be migrated.
		eight, err := after.Acquire(ctx, 8)
		if err != nil {
			t.Fatal(err)
		}
		waiting = contract.Go(ctx, permits{before, 1})
		e.AwaitWaiters(t, permits{after, 10}, 1)
		contract.Release(t, eight)
		if r = contract.Get(t, waiting); r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
		e.NothingLeft(t)
	})
}

// TestPermitsComeBack: those of a holder that no longer renews, one TTL later;
// its own lease is over before that.
func TestPermitsComeBack(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const ttl = 300 * time.Millisecond
		dead := semaphore.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal()), "back", 2)
		live := semaphore.New(e.Client(t), "back", 2)
		one, err := live.Acquire(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		lease, err := dead.Acquire(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		r := contract.Get(t, contract.Go(t.Context(), permits{live, 1}))
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if lease.Err() == nil {
			t.Error("three permits of two, by their own clocks")
		}
		if err := one.Renew(t.Context()); err != nil {
			t.Errorf("the other permit: %v", err)
		}
		contract.Release(t, r.Lease)
		contract.Release(t, one)
		e.NothingLeft(t)
	})
}

func TestBadNumbers(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		for limit, numbers := range map[int64][]int64{
			5: {0, -1, 6, 1 << 62}, 0: {0, 1}, -1: {1}, 1_000_000_001: {1, 2},
		} {
			s := semaphore.New(c, "bad", limit)
			for _, n := range numbers {
				_, acquire := s.Acquire(t.Context(), n)
				_, try := s.TryAcquire(t.Context(), n)
				do := s.Do(t.Context(), n, func(context.Context) error { return nil })
				for _, err := range []error{acquire, try, do} {
					if !errors.Is(err, holdfast.ErrInvalid) {
						t.Errorf("%d of %d: %v", n, limit, err)
					}
				}
			}
		}
		for _, s := range []*semaphore.Semaphore{nil, {}} {
			if _, err := s.Acquire(t.Context(), 1); !errors.Is(err, holdfast.ErrInvalid) || s.Name() != "" {
				t.Error(err)
			}
		}
		if n := e.Redis.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys in Redis", n)
		}
		huge := semaphore.New(c, "bad", 1_000_000_000)
		lease, err := huge.Acquire(t.Context(), 500_000_000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := huge.TryAcquire(t.Context(), 500_000_001); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Error(err)
		}
		contract.Release(t, lease)
	})
}

// TestCarriedPermits: a context may carry some permits and take more, unless
// they are more than there are: then it would wait for itself.
func TestCarriedPermits(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		s := semaphore.New(e.Client(t), "carried", 3)
		err := s.Do(t.Context(), 2, func(ctx context.Context) error {
			lease, _ := holdfast.FromContext(ctx)
			ctx = lease.Context(ctx) // twice the same lease is two permits, not four
			return s.Do(ctx, 1, func(ctx context.Context) error {
				if _, err := s.Acquire(ctx, 1); !errors.Is(err, holdfast.ErrInvalid) {
					t.Errorf("a fourth of three: %v", err)
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		e.NothingLeft(t)
	})
}
