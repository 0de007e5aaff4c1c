//go:build linux

package torture_test

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/mutex"
)

const (
	lookEvery = 15 * time.Millisecond

	// longestLeft is how long anything may stay in Redis of which nothing is held:
	// the last token. Tombstones and the queues of the dead end before it.
	longestLeft = 10 * time.Minute
)

// watch records who is in the queues, now and again, until the returned function
// is called.
func (r *round) watch() (stop func()) {
	rdb := r.server.Client(r.t, func(o *redis.Options) { o.ReadTimeout = ttl })
	client, err := holdfast.New(rdb)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	all := newLocks(client)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			for lock, inspect := range map[string]func(context.Context) (*holdfast.State, error){
				"mutex": all.mutex.Inspect, "reentrant": all.reentrant.Inspect,
				"rwlock": all.rwlock.Inspect, "semaphore": all.semaphore.Inspect,
			} {
				state, err := inspect(ctx)
				if err != nil {
					continue // a fault
				}
				at := processtest.Monotonic()
				for _, waiter := range state.Waiters {
					r.storm.Saw(history.Place{Lock: lock, ID: waiter.ID, At: at})
				}
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		watcher.Wait()
		r.closed(client)
	}
}

func (r *round) closed(c *holdfast.Client) {
	r.t.Helper()
	if err := c.Close(r.t.Context()); err != nil {
		r.t.Error(err)
	}
}

// nothingLeft takes each lock as a whole, which must be possible within the TTLs
// of those that died last, and looks at what is in Redis then.
func (r *round) nothingLeft(pages []string) {
	r.t.Helper()
	client, err := holdfast.New(r.server.Client(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	defer r.closed(client)
	all := newLocks(client)
	takes := map[string]func(context.Context) (*holdfast.Lease, error){
		"mutex": all.mutex.Lock, "reentrant": all.reentrant.Lock, "rwlock": all.rwlock.Lock,
		"semaphore": func(ctx context.Context) (*holdfast.Lease, error) { return all.semaphore.Acquire(ctx, permits) },
	}
	for _, page := range pages {
		takes[page] = mutex.New(client, page).Lock
	}
	for name, take := range takes {
		ctx, cancel := context.WithTimeout(r.t.Context(), patience)
		lease, refused := take(ctx)
		cancel()
		if refused != nil {
			r.t.Errorf("%s is not free, though nobody is left who could hold it: %v", name, refused)
			continue
		}
		contract.Release(r.t, lease)
	}
	(&contract.Env{Redis: r.redis}).NothingLeft(r.t)
	ctx := r.t.Context()
	keys, err := r.redis.Keys(ctx, "*").Result()
	r.must(err)
	for _, key := range keys {
		if left := r.redis.PTTL(ctx, key).Val(); left <= 0 || left > longestLeft {
			r.t.Errorf("%s is left, for %v (-1: for ever; -2: it has gone meanwhile)", key, left)
		}
		if !strings.HasPrefix(key, "holdfast:") {
			r.t.Errorf("%s is none of Holdfast's", key)
		}
	}
}
