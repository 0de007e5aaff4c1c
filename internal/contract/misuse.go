package contract

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

// everyNameWorks: any bytes are a name.
func everyNameWorks(t *testing.T, e *Env) {
	names := []string{
		"a", "a b", "a\nb", "a\x00b", "\xff\xfe", "{", "}", "{}", "}{", "{}a", "a}b", "{a}b", "a{b}c", "{a{b}c}",
		"äöü", "*", "?", "[a]", " ", strings.Repeat("x", 1000), "a:b", "%s",
	}
	a, b := e.Client(t), e.Client(t)
	for _, name := range names {
		lease := Lock(t, e.New(a, name))
		other := e.New(b, name)
		if _, err := other.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
			t.Errorf("%q: %v", name, err)
		}
		waiting := Go(t.Context(), other)
		e.AwaitWaiters(t, e.New(a, name), 1)
		Release(t, lease)
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatalf("%q: %v", name, r.Err)
		}
		Release(t, r.Lease)
	}
	e.NothingLeft(t)
}

func badInput(t *testing.T, e *Env) {
	c := e.Client(t)
	for what, l := range map[string]holdfast.Locker{
		"an empty name":         e.New(c, ""),
		"a name of 10 kB":       e.New(c, strings.Repeat("x", 10_000)),
		"TTL 0":                 e.New(c, "bad", holdfast.WithTTL(0)),
		"TTL -1":                e.New(c, "bad", holdfast.WithTTL(-1)),
		"TTL 500µs":             e.New(c, "bad", holdfast.WithTTL(500*time.Microsecond)),
		"TTL 10.5 ms":           e.New(c, "bad", holdfast.WithTTL(10500*time.Microsecond)),
		"TTL 9 ms":              e.New(c, "bad", holdfast.WithTTL(9*time.Millisecond)),
		"an endless TTL":        e.New(c, "bad", holdfast.WithTTL(1<<62)),
		"MaxWait -1":            e.New(c, "bad", holdfast.WithMaxWait(-1)),
		"MaxHold -1":            e.New(c, "bad", holdfast.WithMaxHold(-1)),
		"MinHold -1":            e.New(c, "bad", holdfast.WithMinHold(-1)),
		"MinHold 1µs":           e.New(c, "bad", holdfast.WithMinHold(time.Microsecond)),
		"MinHold over MaxHold":  e.New(c, "bad", holdfast.WithMinHold(time.Minute), holdfast.WithMaxHold(time.Second)),
		"MinHold over the TTL":  e.New(c, "bad", holdfast.WithMinHold(time.Minute), holdfast.WithoutRenewal()),
		"no BackOff":            e.New(c, "bad", holdfast.WithBackOff(nil)),
		"an empty holder":       e.New(c, "bad", holdfast.WithHolder("")),
		"a holder of two lines": e.New(c, "bad", holdfast.WithHolder("a\nb")),
		"a long holder":         e.New(c, "bad", holdfast.WithHolder(strings.Repeat("x", 300))),
		"a prefix for a lock":   e.New(c, "bad", holdfast.WithPrefix("p:")),
		"a logger for a lock":   e.New(c, "bad", holdfast.WithLogger(slog.New(slog.DiscardHandler))),
		"a nil option":          e.New(c, "bad", nil),
		"replicas":              e.New(c, "bad", holdfast.WithReplicas(0, time.Second)),
		"no client":             e.New(nil, "bad"),
		"a zero client":         e.New(new(holdfast.Client), "bad"),
	} {
		refused(t, what, l)
	}
	if _, err := holdfast.New(nil); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("New(nil): %v", err)
	}
	if _, err := holdfast.New((*redis.Client)(nil)); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("New of a nil *redis.Client: %v", err)
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": e.Addr}})
	defer func() { _ = ring.Close() }()
	if _, err := holdfast.New(ring); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("New of a Ring: %v", err)
	}
	if _, err := holdfast.New(e.Redis, holdfast.WithTTL(1)); !errors.Is(err, holdfast.ErrInvalid) || !strings.Contains(err.Error(), "1ns") {
		t.Errorf("New with a bad TTL: %v", err)
	}
	companions := e.Client(t, holdfast.WithPrefix(""))
	refused(t, "a companion's name", e.New(companions, "holdfast:q:{a}a"))
	if n := e.Redis.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in Redis", n)
	}
}

func refused(t *testing.T, what string, l holdfast.Locker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := l.Lock(ctx); !errors.Is(err, holdfast.ErrInvalid) || !strings.HasPrefix(err.Error(), "holdfast: invalid: ") {
		t.Errorf("%s: Lock: %v", what, err)
	}
	if _, err := l.TryLock(ctx); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("%s: TryLock: %v", what, err)
	}
	if err := l.Do(ctx, func(context.Context) error { return nil }); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("%s: Do: %v", what, err)
	}
}

// wrongType: a key that holds a list is an error at once, not a long wait.
func wrongType(t *testing.T, e *Env) {
	key := "holdfast:" + e.Name + ":list"
	for _, rdb := range e.servers() {
		if err := rdb.LPush(t.Context(), key, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	l := e.New(e.Client(t), "list")
	for _, lock := range []func(context.Context) (*holdfast.Lease, error){l.Lock, l.TryLock} {
		_, err := lock(t.Context())
		var reply redis.Error
		if !errors.As(err, &reply) || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), "list") {
			t.Errorf("a list in the place of a lock: %v", err)
		}
	}
	if n := e.Redis.DBSize(t.Context()).Val(); n != 1 {
		t.Errorf("%d keys in Redis", n)
	}
}

func closedRedis(t *testing.T, e *Env) {
	rdb := e.dial(false)
	c, err := holdfast.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	l := e.New(c, "closed")
	lease := Lock(t, l)
	_ = rdb.Close()
	for name, lock := range map[string]func(context.Context) (*holdfast.Lease, error){"Lock": e.New(c, "x").Lock, "TryLock": e.New(c, "x").TryLock} {
		if _, err := lock(t.Context()); !errors.Is(err, redis.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := lease.Release(t.Context()); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("Release: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func closeReleases(t *testing.T, e *Env) {
	c, other := e.Client(t), e.Client(t)
	var leases []*holdfast.Lease
	names := []string{"one", "two", "three"}
	for _, n := range names {
		leases = append(leases, Lock(t, e.New(c, n)))
	}
	elsewhere := Lock(t, e.New(other, "elsewhere"))
	var waiting []<-chan Result
	for _, n := range []string{"one", "elsewhere", "elsewhere"} { // behind itself, in the queue, in the process
		waiting = append(waiting, Go(t.Context(), e.New(c, n)))
	}
	e.AwaitWaiters(t, e.New(other, "one"), 1)
	places := 1
	if e.Shared {
		places = 2
	}
	e.AwaitWaiters(t, e.New(other, "elsewhere"), places)
	if err := e.Close(t, c); err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		if !errors.Is(l.Err(), holdfast.ErrReleased) || !done(l) {
			t.Errorf("%s after Close: %v", l.Name(), l.Err())
		}
		if err := l.Release(t.Context()); !errors.Is(err, holdfast.ErrReleased) {
			t.Errorf("Release after Close: %v", err)
		}
	}
	for _, w := range waiting {
		if r := Get(t, w); !errors.Is(r.Err, holdfast.ErrClosed) {
			t.Errorf("a waiter after Close: %v", r.Err)
		}
	}
	for _, n := range names { // free at once, not after a TTL
		lease, err := e.New(other, n).TryLock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		Release(t, lease)
	}
	if n := e.Waiters(t, e.New(other, "elsewhere")); n != 0 {
		t.Errorf("%d places left in the queue", n)
	}
	Release(t, elsewhere)
	e.NothingLeft(t)
}

func useAfterClose(t *testing.T, e *Env) {
	c := e.Client(t)
	l := e.New(c, "late")
	for range 2 { // closing twice is fine
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Lock(t.Context()); !errors.Is(err, holdfast.ErrClosed) {
		t.Error(err)
	}
	if _, err := l.TryLock(t.Context()); !errors.Is(err, holdfast.ErrClosed) {
		t.Error(err)
	}
	if err := l.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, holdfast.ErrClosed) {
		t.Error(err)
	}
	if n := e.Redis.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in Redis", n)
	}
}

func zeroValues(t *testing.T, _ *Env) {
	for _, l := range []*holdfast.Lease{nil, {}} {
		if err := l.Err(); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if err := l.Release(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if err := l.Renew(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if !done(l) || l.Name() != "" || l.ID() != "" || l.Token() != 0 || !l.Deadline().IsZero() {
			t.Error("a zero lease that is something")
		}
		if ctx := l.Context(t.Context()); ctx.Err() == nil {
			t.Error("the context of a zero lease is alive")
		}
	}
	var c *holdfast.Client
	if err := c.Close(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
		t.Error(err)
	}
}
