package guard_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// client is one process of a service.
func client(t *testing.T, rdb *redis.Client) *holdfast.Client {
	t.Helper()
	c, err := holdfast.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A holder is paused past its TTL, another takes the lock and writes, and the first
// goes on as if nothing had happened.
func TestLateWriteIsRefused(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	lock := func() *holdfast.Lease {
		lease, err := mutex.New(client(t, rdb), "r", holdfast.WithTTL(50*time.Millisecond), holdfast.WithoutRenewal()).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	f := guard.New(rdb, fenceKey)
	a := lock()
	if _, err := f.Do(t.Context(), a.Token(), set("a")); err != nil {
		t.Fatal(err)
	}
	<-a.Done() // and does not look

	b := lock()
	if _, err := f.Do(t.Context(), b.Token(), set("b")); err != nil {
		t.Fatal(err)
	}
	_, err := f.Do(t.Context(), a.Token(), set("a, late"))
	wantStale(t, err, a.Token(), b.Token())
	wantStale(t, f.Check(t.Context(), a.Token()), a.Token(), b.Token())
	if got := get(t, rdb, string(register)); got != "b" {
		t.Fatalf("the register is %q", got)
	}
	// By the context of its lease it would have been told without asking.
	if _, err = f.Do(a.Context(t.Context()), a.Token(), set("a, late")); !errors.Is(err, holdfast.ErrLost) {
		t.Fatal(err)
	}
}

// Many holders read a register, are paused for longer than their lease now and then,
// and write what follows from what they read. No accepted write follows from an old
// reading, and what is accepted is in the order of the leases.
func TestRegisterOfManyHolders(t *testing.T) {
	t.Parallel()
	const holders, rounds, ttl = 6, 12, 20 * time.Millisecond
	rdb := testredis.Start(t).Client(t)
	var accepted, refused atomic.Int64
	var wg sync.WaitGroup
	for range holders {
		c := client(t, rdb)
		wg.Go(func() {
			for range rounds {
				lease, err := mutex.New(c, "r", holdfast.WithTTL(ttl), holdfast.WithoutRenewal()).Lock(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				switch err := addOne(t.Context(), rdb, lease.Token(), ttl); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, guard.ErrStale):
					refused.Add(1)
				default:
					t.Error(err)
				}
				_ = lease.Release(t.Context()) // it may be lost, which is the point
			}
		})
	}
	wg.Wait()
	if got := get(t, rdb, string(register)); got != strconv.FormatInt(accepted.Load(), 10) {
		t.Errorf("%d writes were accepted, and the register is %s", accepted.Load(), got)
	}
	if refused.Load() == 0 {
		t.Error("nobody was late: the test shows nothing")
	}
	t.Logf("%d accepted, %d refused", accepted.Load(), refused.Load())
	last := int64(0)
	for _, entry := range rdb.LRange(t.Context(), "{r}:log", 0, -1).Val() {
		token, err := strconv.ParseInt(entry, 10, 64)
		if err != nil || token <= last {
			t.Errorf("token %s was accepted after %d", entry, last)
		}
		last = token
	}
}

// addOne reads, waits and writes.
func addOne(ctx context.Context, rdb *redis.Client, token int64, ttl time.Duration) error {
	f := guard.New(rdb, fenceKey)
	if err := f.Check(ctx, token); err != nil { // before it reads
		return err
	}
	n, err := rdb.Get(ctx, string(register)).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	time.Sleep(rand.N(2 * ttl))
	_, err = f.Do(ctx, token, set(n+1), guard.Cmd{"RPUSH", guard.Key("{r}:log"), token})
	return err
}

func TestToken(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	m := mutex.New(client(t, rdb), "r")
	var last int64
	for range 3 {
		var inside context.Context //nolint:containedctx // it is looked at when it is over
		err := m.Do(t.Context(), func(ctx context.Context) error {
			inside = ctx //nolint:fatcontext // see above
			token, err := guard.Token(ctx)
			lease, _ := holdfast.FromContext(ctx)
			if err != nil || token != lease.Token() || token <= last {
				t.Errorf("%d after %d, %v", token, last, err)
			}
			last = token
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guard.Token(inside); !errors.Is(err, holdfast.ErrReleased) {
			t.Error(err)
		}
	}
	if _, err := guard.Token(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
		t.Error(err)
	}
	if _, err := guard.Token(nil); !errors.Is(err, holdfast.ErrInvalid) { //nolint:staticcheck // that is the test
		t.Error(err)
	}
	// A lease of no lock is over before it begins.
	if _, err := guard.Token((&holdfast.Lease{}).Context(t.Context())); !errors.Is(err, holdfast.ErrInvalid) {
		t.Error(err)
	}
}
