package servertest_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// Trouble that lasts longer than what it interrupts, and trouble that comes again
// and again.

// troubled runs f for each kind on a server of its own that takes no writes until it
// is mended.
func troubled(t *testing.T, ttl time.Duration, f func(b *bed, lease *holdfast.Lease, waiting <-chan contract.Result, mend func())) {
	t.Helper()
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testredis.Start(t)
			b := &bed{t: t, s: s, admin: s.Client(t)}
			lock := func() holdfast.Locker { return kinds[kind](newClient(t, s.Client(t), holdfast.WithTTL(ttl)), "lock") }
			holder := lock()
			lease := contract.Lock(t, holder)
			waiting := contract.Go(t.Context(), lock())
			queuedBehind(t, holder, 1)
			f(b, lease, waiting, config("min-replicas-to-write", "1", "0")(b))
		})
	}
}

// A lease that cannot be renewed is lost by its own clock, no earlier, and its
// holder knows why. Nobody else has it before that.
func TestTroubleOutlastsALease(t *testing.T) {
	troubled(t, 900*time.Millisecond, func(b *bed, lease *holdfast.Lease, waiting <-chan contract.Result, mend func()) {
		t := b.t
		t.Helper()
		<-lease.Done()
		over := time.Now()
		var why *holdfast.LostError
		if err := lease.Err(); !errors.As(err, &why) || why.Reason != holdfast.LostUnreachable || !isWord(err, "NOREPLICAS") {
			t.Errorf("the lease: %v", err)
		}
		if over.Before(lease.Deadline()) {
			t.Errorf("lost %v before its deadline", time.Until(lease.Deadline()))
		}
		if len(waiting) > 0 {
			t.Error("the waiter does not wait")
		}
		mend()
		r := contract.Get(t, waiting)
		if r.Err != nil || r.Lease.Token() <= lease.Token() {
			t.Fatalf("the waiter: %+v", r)
		}
		contract.Release(t, r.Lease)
	})
}

// A release that is refused for longer than Release waits is sent until it is taken.
func TestTroubleOutlastsARelease(t *testing.T) {
	troubled(t, 30*time.Second, func(b *bed, lease *holdfast.Lease, waiting <-chan contract.Result, mend func()) {
		t := b.t
		t.Helper()
		began := time.Now()
		err := lease.Release(t.Context())
		if !isWord(err, "NOREPLICAS") || errors.Is(err, holdfast.ErrLost) {
			t.Errorf("Release: %v", err)
		}
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("Release took %v", d)
		}
		if len(waiting) > 0 {
			t.Error("the waiter does not wait")
		}
		mend()
		mended := time.Now()
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(mended); d > 10*time.Second {
			t.Errorf("the waiter was served %v after the trouble, of a TTL of 30 s", d)
		}
		contract.Release(t, r.Lease)
	})
}

// The server forgets its scripts all the time. Nobody notices.
func TestScriptsAreForgotten(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testredis.Start(t)
			admin := s.Client(t, func(o *redis.Options) { o.PoolSize = 1 })
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						_ = admin.ScriptFlush(t.Context()).Err()
					}
				}
			}()
			var users sync.WaitGroup
			for range 4 {
				l := kinds[kind](newClient(t, s.Client(t)), "lock")
				users.Go(func() {
					for range 50 {
						lease, err := l.Lock(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						if err := lease.Renew(t.Context()); err != nil {
							t.Error(err)
						}
						contract.Release(t, lease)
					}
				})
			}
			users.Wait()
			close(stop)
			<-stopped
		})
	}
}
