package servertest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// Servers that forget what they held, that remember it, and that remember what was
// given back.

// eachKind runs f for each kind of lock on a server of its own.
func eachKind(t *testing.T, f func(b *bed, kind string), args ...string) {
	t.Helper()
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testredis.Start(t, args...)
			f(&bed{t: t, s: s, admin: s.Client(t), key: "holdfast:" + kind + ":lock"}, kind)
		})
	}
}

// of is the lock of a client of its own.
func (b *bed) of(kind string, opts ...holdfast.Option) holdfast.Locker {
	b.t.Helper()
	return kinds[kind](newClient(b.t, b.s.Client(b.t), opts...), "lock")
}

func (b *bed) exists() bool {
	b.t.Helper()
	n, err := b.admin.Exists(b.t.Context(), b.key).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return n == 1
}

// A server that evicts keys with a TTL evicts locks first. The holder is told by its
// next renewal, which makes nothing anew, and tokens stay in order.
func TestEvicted(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		const ttl = 3 * time.Second
		lease := contract.Lock(t, b.of(kind, holdfast.WithTTL(ttl)))
		b.do("CONFIG", "SET", "maxmemory", "1")
		contract.Eventually(t, "the eviction", func() bool {
			_ = b.admin.Set(t.Context(), "more", "", 0).Err() // is refused, and makes room before that
			return !b.exists()
		})
		evicted := time.Now()
		b.do("CONFIG", "SET", "maxmemory", "0")
		contract.Eventually(t, "the holder to be told", func() bool { return lease.Err() != nil })
		var why *holdfast.LostError
		if err := lease.Err(); !errors.As(err, &why) || why.Reason != holdfast.LostRemoved {
			t.Errorf("Err: %v", err)
		}
		if d := time.Since(evicted); d > ttl {
			t.Errorf("told after %v, of a TTL of %v", d, ttl)
		}
		next := contract.Lock(t, b.of(kind))
		if next.Token() <= lease.Token() {
			t.Errorf("token %d after %d", next.Token(), lease.Token())
		}
		contract.Release(t, next)
	}, "--maxmemory-policy", "volatile-ttl")
}

// A server that is killed and has written what it did to disk goes on as if nothing
// had been: the lease is renewed, the waiter waits, and is served. (What a power
// failure takes, which kill cannot, is the disk's to keep: appendfsync always.)
func TestAppendOnlyRemembers(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"always", "everysec"} {
		t.Run(sync, func(t *testing.T) {
			eachKind(t, remembers, "--appendonly", "yes", "--appendfsync", sync)
		})
	}
}

func remembers(b *bed, kind string) {
	t := b.t
	t.Helper()
	holder := b.of(kind)
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), b.of(kind))
	queuedBehind(t, holder, 1)
	b.s.Kill()
	b.s.Restart()
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew: %v", err)
	}
	if len(waiting) > 0 {
		t.Error("the waiter does not wait")
	}
	contract.Release(t, lease)
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Lease.Token() <= lease.Token() {
		t.Errorf("token %d after %d", r.Lease.Token(), lease.Token())
	}
	contract.Release(t, r.Lease)
}

// A server that comes back with an older snapshot holds what was given back since.
// Nobody believes in that hold, the next one waits for its end, a TTL at most, and
// the tokens do not go back to where they were.
func TestRolledBack(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		const ttl = 4 * time.Second
		l := b.of(kind, holdfast.WithTTL(ttl), holdfast.WithoutRenewal())
		old := contract.Lock(t, l)
		b.do("SAVE")
		contract.Release(t, old)
		var last int64
		for range 3 {
			lease := contract.Lock(t, l)
			contract.Release(t, lease)
			last = lease.Token()
		}
		b.s.Kill()
		b.s.Restart()
		back := time.Now()
		if !b.exists() {
			t.Fatal("the old hold is not there: nothing is tried")
		}
		next := contract.Lock(t, b.of(kind))
		if d := time.Since(back); d > ttl+5*time.Second {
			t.Errorf("the next one waited %v for a hold of %v", d, ttl)
		}
		if err := old.Err(); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("the lease that was released: %v", err)
		}
		if next.Token() <= last {
			t.Errorf("token %d after %d", next.Token(), last)
		}
		contract.Release(t, next)
	})
}

// A server that does not take away what has ended until somebody asks, and so never
// says that it ended: a waiter asks when it is time.
func TestExpiryNeedsNoEvent(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		const ttl = time.Second
		b.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
		// Cut off, the holder neither renews its lease nor gives it back.
		p := faultproxy.New(t, b.s.Addr())
		rdb := redis.NewClient(&redis.Options{Addr: p.Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		lease := contract.Lock(t, kinds[kind](newClient(t, rdb, holdfast.WithTTL(ttl)), "lock"))
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return every(time.Hour) })
		waiter := b.of(kind, slow)
		waiting := contract.Go(t.Context(), waiter)
		queuedBehind(t, waiter, 1)
		p.Blackhole(true, true)
		defer func() {
			p.CutAll()
			p.Heal()
		}()
		end := lease.Deadline()
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if late := time.Since(end); late < 0 || late > 5*time.Second { // by its pace it would poll after 10 s
			t.Errorf("served %v after the end of the lease", late)
		}
		contract.Release(t, r.Lease)
	})
}

// Redis hangs while a first acquire is under way, the caller gives up, and Redis
// goes on: what it then does for nobody is undone at once.
func TestAcquireOfAHungServerIsUndone(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		for _, lock := range []func(holdfast.Locker) error{
			func(l holdfast.Locker) error { return given(l.TryLock(short(t))) },
			func(l holdfast.Locker) error { return given(l.Lock(short(t))) },
		} {
			l := b.of(kind)
			contract.Release(t, contract.Lock(t, l)) // it is connected
			b.s.Pause()
			if err := lock(l); !isTimeout(err) {
				t.Errorf("while Redis hangs: %v", err)
			}
			b.s.Resume()
			contract.Eventually(t, "the lock to be free, long before its TTL", func() bool {
				lease, err := b.of(kind).TryLock(t.Context())
				if err == nil {
					contract.Release(t, lease)
				}
				return err == nil
			})
		}
	})
}
