package reentrant_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/reentrant"
)

// counts is the hash of the lock: owner to count.
func counts(t *testing.T, e *contract.Env, name string) map[string]string {
	t.Helper()
	all, err := e.Redis.HGetAll(t.Context(), "holdfast:reentrant:"+name).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// count is the number in that hash, which has one field or none.
func count(t *testing.T, e *contract.Env, name string) string {
	t.Helper()
	all := counts(t, e, name)
	if len(all) > 1 {
		t.Fatalf("owners: %v", all)
	}
	for _, n := range all {
		return n
	}
	return "0"
}

func lock(t *testing.T, ctx context.Context, l holdfast.Locker) *holdfast.Lease { //nolint:revive // t first, as in all tests
	t.Helper()
	r := contract.Get(t, contract.Go(ctx, l))
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Lease
}

// refuses wants the lock to be another owner's.
func refuses(t *testing.T, ctx context.Context, m *reentrant.Mutex) { //nolint:revive // as above
	t.Helper()
	if _, err := m.TryLock(ctx); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock by another owner: %v", err)
	}
}

// TestReenters: what is derived from a lease's context re-enters, in all forms
// and past those who wait; what is not is another owner. Releases come in any
// order, and the token stays.
func TestReenters(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		m, other := reentrant.New(c, "again"), reentrant.New(e.Client(t), "again")
		outer := lock(t, t.Context(), m)
		ctx, cancel := context.WithCancel(outer.Context(t.Context()))
		defer cancel()
		refuses(t, t.Context(), m)
		refuses(t, t.Context(), other)

		waiting := contract.Go(t.Context(), other)
		e.AwaitWaiters(t, other, 1)
		second := lock(t, ctx, m)
		third, err := reentrant.New(c, "again").TryLock(second.Context(ctx)) // another handle of the same lock
		if err != nil {
			t.Fatal(err)
		}
		if got := counts(t, e, "again"); len(got) != 1 || got[outer.ID()] != "3" {
			t.Errorf("the hash is %v, the owner %s", got, outer.ID())
		}
		if second.Token() != outer.Token() || third.Token() != outer.Token() {
			t.Error("a re-entry has another token")
		}
		if second.ID() == outer.ID() || third.ID() == second.ID() {
			t.Error("two acquisitions of one id")
		}
		contract.Release(t, outer)
		if n := count(t, e, "again"); n != "2" {
			t.Errorf("count %s", n)
		}
		refuses(t, t.Context(), other)
		contract.Release(t, third)
		if second.Err() != nil {
			t.Errorf("the release of others ended it: %v", second.Err())
		}
		if err := third.Release(t.Context()); !errors.Is(err, holdfast.ErrReleased) || count(t, e, "again") != "1" {
			t.Errorf("second Release: %v", err)
		}
		contract.Release(t, second)
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Lease.Token() <= outer.Token() {
			t.Error("the next owner's token is not greater")
		}
		contract.Release(t, r.Lease)
		e.NothingLeft(t)
	})
}

// TestOwnerEndsWithItsLease: a context whose lease is over never re-enters, nor
// does what was derived from it, though a lease around it is held. One that a
// program named inside of it counts.
func TestOwnerEndsWithItsLease(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := reentrant.New(e.Client(t), "over")
		outer := lock(t, t.Context(), m)
		inner := lock(t, outer.Context(t.Context()), m)
		within := context.WithoutCancel(inner.Context(outer.Context(t.Context())))
		contract.Release(t, inner)
		refuses(t, within, m)
		again := lock(t, reentrant.WithOwner(within, outer.ID()), m)
		contract.Release(t, again)

		kept := lock(t, outer.Context(t.Context()), m)
		contract.Release(t, outer)
		refuses(t, within, m)
		if _, err := m.TryLock(outer.Context(t.Context())); !errors.Is(err, context.Canceled) || !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("TryLock with the context of a lease that is over: %v", err)
		}
		contract.Release(t, kept)
		e.NothingLeft(t)
	})
}

// TestOwnerIsTheWholeChain: the goroutines that a chain starts do not exclude
// each other, on this lock or another, even while others wait between them.
func TestOwnerIsTheWholeChain(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		a, b := reentrant.New(c, "a"), reentrant.New(c, "b")
		stranger := lock(t, t.Context(), b)
		err := a.Do(t.Context(), func(ctx context.Context) error {
			first := contract.Go(ctx, b)
			e.AwaitWaiters(t, b, 1)
			between := contract.Go(t.Context(), b) // another owner of the same process
			e.AwaitWaiters(t, b, 2)
			second := contract.Go(ctx, b)
			contract.Release(t, stranger)
			one, two := contract.Get(t, first), contract.Get(t, second) // while "between" waits for both
			if err := errors.Join(one.Err, two.Err); err != nil {
				return err
			}
			if one.Lease.Token() != two.Lease.Token() || count(t, e, "b") != "2" {
				t.Error("they do not hold it together")
			}
			contract.Release(t, one.Lease)
			contract.Release(t, two.Lease)
			last := contract.Get(t, between)
			if last.Err == nil {
				contract.Release(t, last.Lease)
			}
			return last.Err
		})
		if err != nil {
			t.Fatal(err)
		}
		e.NothingLeft(t)
	})
}

// TestNamedOwner: all who name an owner hold the lock together, whatever their
// process, and the innermost name counts.
func TestNamedOwner(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		const job = "job 42: ünïcode %d {x}"
		here, there := reentrant.New(e.Client(t), "job"), reentrant.New(e.Client(t), "job")
		ctx := reentrant.WithOwner(t.Context(), job)
		first := lock(t, ctx, here)
		second := lock(t, ctx, there)
		if got := counts(t, e, "job"); len(got) != 1 || got[job] != "2" {
			t.Errorf("the hash is %v", got)
		}
		third := lock(t, first.Context(t.Context()), there) // the lease carries the name
		for _, name := range []string{"job 42: ünïcode %d {x", "job", "4", " "} {
			refuses(t, reentrant.WithOwner(first.Context(t.Context()), name), here)
		}
		contract.Release(t, first)
		contract.Release(t, third)
		refuses(t, t.Context(), here)
		contract.Release(t, second)
		e.NothingLeft(t)

		// A waiter whose owner comes to hold the lock elsewhere passes the queue,
		// although another owner stands before it.
		fast := holdfast.WithBackOff(func() holdfast.BackOff { return every(20 * time.Millisecond) })
		stranger := lock(t, reentrant.WithOwner(t.Context(), "stranger"), there)
		front := contract.Go(ctx, here)
		e.AwaitWaiters(t, there, 1)
		between := contract.Go(t.Context(), reentrant.New(e.Client(t), "job"))
		e.AwaitWaiters(t, there, 2)
		behind := contract.Go(ctx, reentrant.New(e.Client(t), "job", fast))
		e.AwaitWaiters(t, there, 3)
		contract.Release(t, stranger)
		one, two := contract.Get(t, front), contract.Get(t, behind)
		if err := errors.Join(one.Err, two.Err); err != nil {
			t.Fatal(err)
		}
		contract.Release(t, one.Lease)
		contract.Release(t, two.Lease)
		r := contract.Get(t, between)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
		e.NothingLeft(t)
	})
}

// TestOwnersFriendsAreTold: a waiter whose owner comes to hold the lock is told,
// wherever it stands, with polling as slow as it can be.
func TestOwnersFriendsAreTold(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return every(time.Hour) })
		job := reentrant.WithOwner(t.Context(), "job")
		probe := reentrant.New(e.Client(t), "told")
		lease := lock(t, t.Context(), probe)
		wait := func(ctx context.Context, n int) <-chan contract.Result {
			in := contract.Go(ctx, reentrant.New(e.Client(t, slow), "told"))
			e.AwaitWaiters(t, probe, n)
			return in
		}
		friends := []<-chan contract.Result{wait(job, 1)}
		strangers := []<-chan contract.Result{wait(t.Context(), 2)}
		friends = append(friends, wait(job, 3))
		strangers = append(strangers, wait(t.Context(), 4))
		friends = append(friends, wait(job, 5))
		contract.Eventually(t, "the subscriptions", func() bool {
			// Of those who wait, and of the holder, who listens after a quarter of a second.
			return len(e.Redis.PubSubChannels(t.Context(), "holdfast:inbox:*").Val()) == 6
		})
		released := time.Now()
		contract.Release(t, lease)
		var held []*holdfast.Lease
		for _, in := range friends {
			r := contract.Get(t, in)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			held = append(held, r.Lease)
		}
		if d := time.Since(released); d > 8*time.Second { // a poll comes after 10 s
			t.Errorf("all of the owner were in after %v", d)
		}
		for _, l := range held {
			contract.Release(t, l)
		}
		for _, in := range strangers {
			r := contract.Get(t, in)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			contract.Release(t, r.Lease)
		}
		e.NothingLeft(t)
	})
}

// TestNamesDoNotMeetOwners: a lock whose name looks like that of another with an
// owner has its own line in the process.
func TestNamesDoNotMeetOwners(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		c := e.Client(t)
		holder := lock(t, t.Context(), reentrant.New(e.Client(t), "a"))
		waiting := contract.Go(reentrant.WithOwner(t.Context(), "X"), reentrant.New(c, "a"))
		e.AwaitWaiters(t, reentrant.New(e.Client(t), "a"), 1)
		contract.Release(t, lock(t, t.Context(), reentrant.New(c, "a\x00X")))
		contract.Release(t, holder)
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
	})
}

type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

func TestBadOwners(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m := reentrant.New(e.Client(t), "bad")
		for _, name := range []string{"", "a\nb", "\x00", "\xff", strings.Repeat("x", 257)} {
			ctx := reentrant.WithOwner(t.Context(), name)
			for _, f := range []func(context.Context) (*holdfast.Lease, error){m.Lock, m.TryLock} {
				if _, err := f(ctx); !errors.Is(err, holdfast.ErrInvalid) {
					t.Errorf("owner %.20q: %v", name, err)
				}
			}
			if lease, err := mutex.New(e.Client(t), "bad").Lock(ctx); err != nil { // which has no owner
				t.Error(err)
			} else {
				contract.Release(t, lease)
			}
		}
		var none context.Context
		if _, err := m.Lock(reentrant.WithOwner(none, "x")); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("WithOwner of a nil context: %v", err)
		}
		long := reentrant.WithOwner(t.Context(), strings.Repeat("x", 256))
		contract.Release(t, lock(t, long, m))
		for _, zero := range []*reentrant.Mutex{nil, {}} {
			if _, err := zero.Lock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) || zero.Name() != "" {
				t.Error(err)
			}
		}
		if n := e.Redis.Exists(t.Context(), "holdfast:reentrant:bad").Val(); n != 0 {
			t.Error("something is held")
		}
	})
}

// TestCountIsExact: many goroutines of one owner, and other owners against them.
func TestCountIsExact(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		m, other := reentrant.New(e.Client(t), "exact"), reentrant.New(e.Client(t), "exact")
		var wg sync.WaitGroup
		for _, l := range []*reentrant.Mutex{m, other} {
			for range 3 {
				wg.Go(func() {
					for range 10 {
						if err := nest(t.Context(), e.Redis, l, 4); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		if n, err := e.Redis.Get(t.Context(), "nested").Int(); err != nil || n != 2*3*10*5 {
			t.Errorf("the register is %d, %v", n, err)
		}
		e.Redis.Del(t.Context(), "nested")
		e.NothingLeft(t)
	})
}

// nest adds one to a register by read-then-write, on each of depth levels.
func nest(ctx context.Context, rdb redis.UniversalClient, l *reentrant.Mutex, depth int) error {
	return l.Do(ctx, func(ctx context.Context) error {
		n, _ := rdb.Get(ctx, "nested").Int() // absent: 0
		if err := rdb.Set(ctx, "nested", n+1, 0).Err(); err != nil || depth == 0 {
			return err
		}
		return nest(ctx, rdb, l, depth-1)
	})
}
