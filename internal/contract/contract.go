// Package contract is the suite that every lock of this module passes in its
// exclusive form, on every backend: a real redis-server, the embedded one, and a
// cluster.
// Each lock package adds tests of what is its own.
package contract

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/locktest"
)

// Maker makes the exclusive lock under test.
type Maker func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker

// Kind is a lock under test.
type Kind struct {
	Name    string // part of its keys
	New     Maker
	Scripts Scripts
	// Request is what stands behind the id in a place of the queue, of a waiter
	// that nobody knows.
	Request string
	// Shared: each request has a place in Redis; else the goroutines of one
	// process wait behind one.
	Shared bool
	// Turn is how many of one process may hold it one after the other while other
	// processes wait; 0: one.
	Turn int
	// Reenters: who holds it may take it again.
	Reenters bool
	// Unordered: nobody queues, so nobody is served in order or woken, and there
	// are no tokens. The cases that are about those do not apply.
	Unordered bool
	// Majority makes the lock on several servers, instead of New. The suite gives
	// it three of which one is down, so that it needs both others: what is done to
	// the first, which is that of Env, then concerns the lock as if it were alone.
	Majority func(clients []*holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker
}

// Env is one backend for one test.
type Env struct {
	Kind
	Addr string
	// Embedded: miniredis, which has no CLIENT KILL, MONITOR or maxmemory.
	Embedded bool
	Redis    redis.UniversalClient // for looking and meddling
	Real     *testredis.Server     // nil: it is not one server
	Cluster  *testredis.Cluster    // nil: it is one

	second *redis.Client // of a lock on a majority
	mu     sync.Mutex
	peers  map[*holdfast.Client][]*holdfast.Client // by the client of the first server
}

// Backends runs f on each backend. A lock on a majority is tried on several real
// servers, and on each backend as a lock on one.
func Backends(t *testing.T, k Kind, f func(t *testing.T, e *Env)) {
	t.Helper()
	if k.Majority == nil {
		t.Run("miniredis", func(t *testing.T) {
			s := locktest.NewServer(t)
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
			t.Cleanup(func() { _ = rdb.Close() })
			f(t, &Env{Kind: k, Addr: s.Addr(), Embedded: true, Redis: rdb})
		})
	}
	t.Run("redis", func(t *testing.T) { Real(t, k, f) })
}

// Real runs f on a redis-server of its own.
func Real(t *testing.T, k Kind, f func(t *testing.T, e *Env)) {
	t.Helper()
	s := testredis.Start(t)
	e := &Env{Kind: k, Addr: s.Addr(), Redis: s.Client(t), Real: s}
	if k.Majority != nil {
		e.share(testredis.Start(t).Client(t))
	}
	f(t, e)
}

// Client is a new client, as of a process of its own.
func (e *Env) Client(t *testing.T, opts ...holdfast.Option) *holdfast.Client {
	t.Helper()
	c := clientOf(t, e.dial(false), opts...)
	e.addPeers(t, c, opts)
	return c
}

// dial is a new go-redis client, as of a process of its own.
func (e *Env) dial(heedsContext bool) redis.UniversalClient {
	if e.Cluster == nil {
		return redis.NewClient(&redis.Options{Addr: e.Addr, ContextTimeoutEnabled: heedsContext})
	}
	o := &redis.ClusterOptions{ContextTimeoutEnabled: heedsContext}
	for _, s := range e.Cluster.Masters {
		o.Addrs = append(o.Addrs, s.Addr())
	}
	return redis.NewClusterClient(o)
}

// ClientAt is a client that reaches the server through another address, such as
// a fault proxy, and its go-redis client.
func (e *Env) ClientAt(t *testing.T, addr string, opts ...holdfast.Option) (*holdfast.Client, *redis.Client) {
	t.Helper()
	c, rdb := Connect(t, &redis.Options{Addr: addr}, opts...)
	e.addPeers(t, c, opts)
	return c, rdb
}

// Connect makes a client, closed when the test ends, and its go-redis client.
func Connect(t *testing.T, o *redis.Options, opts ...holdfast.Option) (*holdfast.Client, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(o)
	return clientOf(t, rdb, opts...), rdb
}

func clientOf(t *testing.T, rdb redis.UniversalClient, opts ...holdfast.Option) *holdfast.Client {
	t.Helper()
	c, err := holdfast.New(rdb, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		_ = rdb.Close()
	})
	return c
}

// Lock takes the lock or ends the test.
func Lock(tb testing.TB, l holdfast.Locker) *holdfast.Lease {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	lease, err := l.Lock(ctx)
	if err != nil {
		tb.Fatalf("Lock: %v", err)
	}
	return lease
}

// Release releases the lease or fails the test.
func Release(tb testing.TB, l *holdfast.Lease) {
	tb.Helper()
	if err := l.Release(tb.Context()); err != nil {
		tb.Errorf("Release: %v", err)
	}
}

// Result is what a Lock in the background came to.
type Result struct {
	Lease *holdfast.Lease
	Err   error
}

// Go locks in the background.
func Go(ctx context.Context, l holdfast.Locker) <-chan Result {
	out := make(chan Result, 1)
	go func() {
		lease, err := l.Lock(ctx)
		out <- Result{lease, err}
	}()
	return out
}

// Get waits for a Lock in the background.
func Get(t *testing.T, in <-chan Result) Result {
	t.Helper()
	select {
	case r := <-in:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("Lock did not return within 30 s")
		return Result{}
	}
}

// Eventually polls until ok, for ten seconds.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	Within(t, 10*time.Second, what, ok)
}

// Within polls until ok, for d at most.
func Within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Waiters is how many places the queue has, by the error of a TryLock of a held
// lock.
func (e *Env) Waiters(t *testing.T, probe holdfast.Locker) int {
	t.Helper()
	lease, err := probe.TryLock(t.Context())
	var held *holdfast.HeldError
	if !errors.As(err, &held) {
		if lease != nil {
			Release(t, lease)
		}
		t.Fatalf("the lock is not held: %v", err)
	}
	return held.Waiters
}

// AwaitWaiters waits until the queue has n places. Where nobody queues there is
// nothing to wait for: what a test goes on to show holds in any order.
func (e *Env) AwaitWaiters(t *testing.T, probe holdfast.Locker, n int) {
	t.Helper()
	if e.Unordered {
		return
	}
	Eventually(t, "the queue to have its places", func() bool { return e.Waiters(t, probe) == n })
}

// names are the keys that match, on whatever node they are.
func (e *Env) names(t *testing.T, pattern string) []string {
	t.Helper()
	return names(t, e.Redis, pattern)
}

func names(t *testing.T, rdb redis.UniversalClient, pattern string) []string {
	t.Helper()
	var names []string
	look := func(ctx context.Context, rdb *redis.Client) error {
		some, err := rdb.Keys(ctx, pattern).Result()
		names = append(names, some...)
		return err
	}
	err := error(nil)
	switch rdb := rdb.(type) {
	case *redis.ClusterClient:
		var one sync.Mutex // it asks all at once
		err = rdb.ForEachMaster(t.Context(), func(ctx context.Context, rdb *redis.Client) error {
			one.Lock()
			defer one.Unlock()
			return look(ctx, rdb)
		})
	case *redis.Client:
		err = look(t.Context(), rdb)
	}
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// NothingLeft waits until no key is left but the last tokens and tombstones
// that end by themselves.
func (e *Env) NothingLeft(t *testing.T) {
	t.Helper()
	Eventually(t, "nothing to be left in Redis", func() bool {
		return !slices.ContainsFunc(e.servers(), func(rdb redis.UniversalClient) bool {
			return slices.ContainsFunc(names(t, rdb, "*"), func(name string) bool { return !endsByItself(t, rdb, name) })
		})
	})
}

func endsByItself(t *testing.T, rdb redis.UniversalClient, name string) bool {
	t.Helper()
	if rdb.PTTL(t.Context(), name).Val() <= 0 {
		return false // it stays for ever
	}
	switch kind := rdb.Type(t.Context(), name).Val(); {
	case len(name) > 11 && name[:11] == "holdfast:t:":
		return true
	case kind == "zset":
		places, err := rdb.ZRangeWithScores(t.Context(), name, 0, -1).Result()
		if err != nil {
			return false
		}
		for _, p := range places {
			member, _ := p.Member.(string)
			if p.Score > 0 || len(member) < 5 || member[:5] != "gone " {
				return false
			}
		}
		return true
	}
	return false
}
