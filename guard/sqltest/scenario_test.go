package sqltest

import (
	"context"
	"errors"
	"math/rand/v2"
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

const ttl = 30 * time.Millisecond

// lock takes a lease that its holder loses when it is paused.
func lock(ctx context.Context, c *holdfast.Client) (*holdfast.Lease, error) {
	return mutex.New(c, "account:1", holdfast.WithTTL(ttl), holdfast.WithoutRenewal()).Lock(ctx)
}

// A holder is paused past its TTL, another takes the lock and writes, and the first
// goes on as if nothing had happened.
func TestLateWriteIsRefused(t *testing.T) {
	rdb := testredis.Start(t).Client(t)
	backends(t, func(t *testing.T, b *backend) {
		a, err := lock(t.Context(), client(t, rdb))
		if err != nil {
			t.Fatal(err)
		}
		<-a.Done() // and does not look
		next, err := lock(t.Context(), client(t, rdb))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.accounts.Update(t.Context(), b, next.Token(), 1, guard.Set{"balance": 90}); err != nil {
			t.Fatal(err)
		}
		wantStale(t, b.accounts.Update(t.Context(), b, a.Token(), 1, guard.Set{"balance": 10}), a.Token(), next.Token())
		b.want(t, 1, row{90, "", next.Token()})
	})
}

// Many holders read a balance, are paused for longer than their lease now and then,
// and write what follows from what they read. No accepted write follows from an old
// reading.
func TestRegisterOfManyHolders(t *testing.T) {
	rdb := testredis.Start(t).Client(t)
	backends(t, func(t *testing.T, b *backend) {
		const holders, rounds = 5, 10
		var accepted, refused atomic.Int64
		var wg sync.WaitGroup
		for range holders {
			c := client(t, rdb)
			wg.Go(func() {
				for range rounds {
					lease, err := lock(t.Context(), c)
					if err != nil {
						t.Error(err)
						return
					}
					switch err := addOne(t, b, lease.Token()); {
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
		if got, _ := b.account(t.Context(), t, 1); got.balance != 100+accepted.Load() {
			t.Errorf("%d writes were accepted, and the balance is %d", accepted.Load(), got.balance)
		}
		if refused.Load() == 0 {
			t.Error("nobody was late: the test shows nothing")
		}
		t.Logf("%d accepted, %d refused", accepted.Load(), refused.Load())
	})
}

// addOne marks, reads, waits and writes.
func addOne(t *testing.T, b *backend, token int64) error {
	if err := b.accounts.Check(t.Context(), b, token, 1); err != nil { // before it reads
		return err
	}
	var balance int64
	err := b.QueryRowContext(t.Context(), "SELECT balance FROM "+b.accounts.Name+" WHERE id = 1").Scan(&balance)
	if err != nil {
		return err
	}
	time.Sleep(rand.N(2 * ttl))
	return b.accounts.Update(t.Context(), b, token, 1, guard.Set{"balance": balance + 1})
}
