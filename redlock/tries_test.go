package redlock_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/redlock"
)

// TestSplit lets each of two contenders have one of two servers. Neither gets the
// lock by that try, and both get it in the end.
func TestSplit(t *testing.T) {
	t.Parallel()
	all := start(t, 2)
	var locks []*redlock.Redlock
	var proxies [][]*faultproxy.Proxy
	for range 2 {
		c, p := all.proxied(t)
		warm(t, c)
		locks = append(locks, redlock.New(c, "split", fast, holdfast.WithTTL(100*time.Second))) // a try may take 500 ms
		proxies = append(proxies, p)
	}
	for !split(t, all, locks, proxies) {
		t.Log("the machine was too slow: again")
	}
	for _, l := range locks {
		contract.Release(t, contract.Lock(t, l))
	}
	all.awaitHolds(t, "split", 0)
}

// split tells whether it could be done before a try was over.
func split(t *testing.T, all cluster, locks []*redlock.Redlock, proxies [][]*faultproxy.Proxy) bool {
	t.Helper()
	begun := time.Now()
	var rules []*faultproxy.Rule
	var tries []<-chan contract.Result
	for i, l := range locks {
		rules = append(rules, proxies[i][1-i].Add(faultproxy.First(1, acquire), faultproxy.HoldRequest))
		tries = append(tries, contract.Go(t.Context(), try{l}))
	}
	for i, r := range rules {
		hit(t, r)
		all[i:i+1].awaitHolds(t, "split", 1)
	}
	for _, r := range rules {
		r.Release()
	}
	inTime := time.Since(begun) < 400*time.Millisecond
	for _, in := range tries {
		r := contract.Get(t, in)
		var held *holdfast.HeldError
		if inTime && (!errors.As(r.Err, &held) || !strings.Contains(r.Err.Error(), "nobody has a majority")) {
			t.Errorf("a try that got one of two: %v", r.Err)
		}
		if r.Err == nil {
			contract.Release(t, r.Lease)
		}
	}
	all.awaitHolds(t, "split", 0)
	return inTime
}

// try locks by TryLock.
type try struct{ holdfast.Locker }

func (l try) Lock(ctx context.Context) (*holdfast.Lease, error) { return l.TryLock(ctx) }

// TestAnswersLost: every server did what it was asked to, and none is heard.
// Whatever they gave is taken back everywhere, on those included that refused.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	l := redlock.New(clients, "lost", fast)
	for _, action := range []faultproxy.Action{faultproxy.SwallowReplyThenHang, faultproxy.SwallowReplyThenClose, faultproxy.HoldReply} {
		var lost, given []*faultproxy.Rule
		for _, p := range proxies {
			lost = append(lost, p.Add(acquire, action))
			given = append(given, p.Add(release, faultproxy.Pass))
		}
		if _, err := l.TryLock(t.Context()); err == nil || errors.Is(err, holdfast.ErrNotAcquired) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("TryLock without an answer: %v", err)
		}
		for i := range proxies {
			hit(t, lost[i])
			hit(t, given[i])
			lost[i].Release()
			lost[i].Remove()
			given[i].Remove()
		}
		all.awaitHolds(t, "lost", 0)
		contract.Release(t, contract.Lock(t, l))
	}

	other := contract.Lock(t, all.lock(t, "lost"))
	var given []*faultproxy.Rule
	for _, p := range proxies {
		given = append(given, p.Add(release, faultproxy.Pass))
	}
	if _, err := l.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock of a held lock: %v", err)
	}
	for _, r := range given {
		hit(t, r)
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Errorf("the releases of a try harmed the holder: %v", err)
	}
	contract.Release(t, other)
}

// TestLateAcquires: the acquires are still under way when they are given up. None
// may take a server after it was given back.
func TestLateAcquires(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	l := redlock.New(clients, "late", fast)
	var late, given []*faultproxy.Rule
	for _, p := range proxies {
		late = append(late, p.Add(faultproxy.First(1, acquire), faultproxy.HoldRequest))
		given = append(given, p.Add(release, faultproxy.Pass))
	}
	if _, err := l.TryLock(t.Context()); err == nil {
		t.Fatal("TryLock without an answer")
	}
	for i := range proxies {
		hit(t, given[i])
		late[i].Release()
	}
	for range 50 { // the servers read their connections in turn: what was sent has come
		contract.Release(t, contract.Lock(t, redlock.New(clients, "arrive", fast)))
	}
	if n := all.holds(t, "late"); n != 0 {
		t.Errorf("%d servers were taken by nobody", n)
	}
}

// TestUnansweredServerIsFound: a server whose answer was lost has the lock all the
// same, and counts once that is known.
func TestUnansweredServerIsFound(t *testing.T) {
	t.Parallel()
	const ttl = 1200 * time.Millisecond
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	lost := proxies[2].Add(faultproxy.First(1, acquire), faultproxy.SwallowReplyThenHang)
	polls := proxies[2].Add(faultproxy.All(acquire, faultproxy.HasArg("poll")), faultproxy.HoldReply)
	polls.Release() // it only counts, and when the answer has come
	lease := contract.Lock(t, redlock.New(clients, "found", fast, holdfast.WithTTL(ttl)))
	hit(t, lost)
	hit(t, polls)
	testredis.Flush(t, all[0].rdb)
	renewed(t, lease, ttl)
	contract.Release(t, lease)
	all.awaitHolds(t, "found", 0)
}

// TestWhoHolds: the error names who holds most, and when a majority could be free.
func TestWhoHolds(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	lease := contract.Lock(t, all.lock(t, "who", holdfast.WithHolder("alice"), holdfast.WithTTL(20*time.Second)))
	var held *holdfast.HeldError
	_, err := all.lock(t, "who").TryLock(t.Context())
	if !errors.As(err, &held) || held.Name != "who" || held.Holder != "alice" || held.Remaining < 15*time.Second || held.Remaining > 20*time.Second {
		t.Errorf("TryLock: %v", err)
	}
	contract.Release(t, lease)
	all.awaitHolds(t, "who", 0)

	for i, s := range all { // of another library
		s.rdb.Set(t.Context(), key("who"), "somebody", time.Duration(i+1)*10*time.Second)
	}
	_, err = all.lock(t, "who").TryLock(t.Context())
	if !errors.As(err, &held) || held.Remaining < 15*time.Second || held.Remaining > 20*time.Second {
		t.Errorf("TryLock of foreign locks of 10, 20 and 30 s: %v", err)
	}
	for _, s := range all[1:] {
		s.rdb.Set(t.Context(), key("who"), "somebody", 0)
	}
	if _, err = all.lock(t, "who").TryLock(t.Context()); !errors.As(err, &held) || held.Remaining != 0 {
		t.Errorf("TryLock of locks without an end: %v", err)
	}
}

// TestSendersElsewhereHang: on one server everything that another lock sends
// hangs. The others make a majority all the same.
func TestSendersElsewhereHang(t *testing.T) {
	t.Parallel()
	const ttl, busy = 900 * time.Millisecond, 8 // more than a client has senders
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	others := make([]*holdfast.Lease, busy)
	for i := range others {
		others[i] = contract.Lock(t, mutex.New(clients[0], strings.Repeat("x", i+1)))
	}
	hang := proxies[0].Add(faultproxy.All(release, faultproxy.Not(faultproxy.HasArg(key("busy")))), faultproxy.HoldReply)
	for _, o := range others {
		go func() { _ = o.Release(context.WithoutCancel(t.Context())) }() // then goes on in the background
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := hang.WaitHits(ctx, busy); err != nil {
		t.Fatal(err)
	}
	l := redlock.New(clients, "busy", fast, holdfast.WithTTL(ttl))
	var lease *holdfast.Lease
	quickly(t, "Lock", func() { lease = contract.Lock(t, l) })
	renewed(t, lease, ttl)
	quickly(t, "Release", func() { contract.Release(t, lease) })
	hang.Release()
	hang.Remove()
}

// TestClosedClient: closing any of the clients ends what the lock holds, on all
// servers, and what waits.
func TestClosedClient(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	for i := range all {
		clients := all.clients(t)
		l := redlock.New(clients, "closed", fast)
		kept := redlock.New(clients, "kept", holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) }))
		lease := contract.Lock(t, l)
		other := contract.Lock(t, all.lock(t, "kept"))
		waiting := []<-chan contract.Result{contract.Go(t.Context(), kept), contract.Go(t.Context(), kept)}
		quickly(t, "Close", func() {
			if err := clients[i].Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if !errors.Is(lease.Err(), holdfast.ErrReleased) {
			t.Errorf("the lease after its client %d was closed: %v", i, lease.Err())
		}
		all.awaitHolds(t, "closed", 0)
		for _, w := range waiting {
			if r := contract.Get(t, w); !errors.Is(r.Err, holdfast.ErrClosed) {
				t.Errorf("a waiter after client %d was closed: %v", i, r.Err)
			}
		}
		if _, err := l.TryLock(t.Context()); !errors.Is(err, holdfast.ErrClosed) {
			t.Errorf("TryLock: %v", err)
		}
		if _, err := l.Lock(t.Context()); !errors.Is(err, holdfast.ErrClosed) {
			t.Errorf("Lock: %v", err)
		}
		contract.Release(t, other)
	}
}

// TestCloseWhileServersHang: Close heeds its context, and says what is left.
func TestCloseWhileServersHang(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients := all.clients(t, holdfast.WithTTL(2*time.Second))
	lease := contract.Lock(t, redlock.New(clients, "unconfirmed"))
	all.awaitHolds(t, "unconfirmed", 3)
	all[0].Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := clients[0].Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "unconfirmed") {
		t.Errorf("Close: %v", err)
	}
	if !errors.Is(lease.Err(), holdfast.ErrReleased) {
		t.Errorf("Err: %v", lease.Err())
	}
	all[1:].awaitHolds(t, "unconfirmed", 0)
	all[0].Resume()
}

func TestBadClients(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	connect := func(opts ...holdfast.Option) *holdfast.Client {
		c, _ := contract.Connect(t, &redis.Options{Addr: s.Addr()}, opts...)
		return c
	}
	shared := func() *holdfast.Client {
		c, err := holdfast.New(rdb)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
		return c
	}
	a := connect()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for what, l := range map[string]*redlock.Redlock{
		"no clients":              redlock.New(nil, "bad"),
		"an empty list":           redlock.New([]*holdfast.Client{}, "bad"),
		"a nil client":            redlock.New([]*holdfast.Client{a, nil}, "bad"),
		"a zero client":           redlock.New([]*holdfast.Client{new(holdfast.Client), a}, "bad"),
		"one twice":               redlock.New([]*holdfast.Client{a, connect(), a}, "bad"),
		"one go-redis client":     redlock.New([]*holdfast.Client{shared(), shared()}, "bad"),
		"two prefixes":            redlock.New([]*holdfast.Client{a, connect(holdfast.WithPrefix("p:"))}, "bad"),
		"an empty name":           redlock.New([]*holdfast.Client{a}, ""),
		"a bad option":            redlock.New([]*holdfast.Client{a}, "bad", holdfast.WithTTL(1)),
		"replicas":                redlock.New([]*holdfast.Client{a}, "bad", holdfast.WithReplicas(1, time.Second)),
		"Redisson's":              redlock.New([]*holdfast.Client{a}, "bad", holdfast.WithRedisson()),
		"an option for New alone": redlock.New([]*holdfast.Client{a}, "bad", holdfast.WithPrefix("")),
	} {
		if _, err := l.Lock(ctx); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("%s: Lock: %v", what, err)
		}
		if _, err := l.TryLock(ctx); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("%s: TryLock: %v", what, err)
		}
		if err := l.Do(ctx, func(context.Context) error { return nil }); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("%s: Do: %v", what, err)
		}
	}
	if n := rdb.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in Redis", n)
	}
	if name := redlock.New([]*holdfast.Client{a}, "name").Name(); name != "name" {
		t.Error(name)
	}
}

// TestCarriedByServers: what would wait for itself is refused, whatever the order
// of the clients is; what would not is not.
func TestCarriedByServers(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients := all.clients(t, holdfast.WithPrefix(""))
	a, b, c := clients[0], clients[1], clients[2]
	lease := contract.Lock(t, redlock.New(clients, "carried"))
	ctx, cancel := context.WithTimeout(lease.Context(t.Context()), 10*time.Second)
	defer cancel()
	for what, l := range map[string]holdfast.Locker{
		"in another order": redlock.New([]*holdfast.Client{c, a, b}, "carried"),
		"on two of them":   redlock.New([]*holdfast.Client{b, c}, "carried"),
		"a mutex on one":   mutex.New(b, "carried"), // without a prefix both are one key
	} {
		if _, err := l.Lock(ctx); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	contract.Release(t, lease)
	contract.Eventually(t, "all servers to be free", func() bool {
		n := int64(0)
		for _, s := range all {
			n += s.rdb.Exists(t.Context(), "carried").Val()
		}
		return n == 0
	})

	lease = contract.Lock(t, mutex.New(b, "carried"))
	ctx, cancel = context.WithTimeout(lease.Context(t.Context()), 10*time.Second)
	defer cancel()
	majority, err := redlock.New(clients, "carried").Lock(ctx) // of the other two
	if err != nil {
		t.Fatalf("beside a mutex on one of three: %v", err)
	}
	contract.Release(t, majority)
	contract.Release(t, lease)
}

// TestGoroutinesStay: as few for many leases as for one.
func TestGoroutinesStay(t *testing.T) {
	all := start(t, 3)
	clients := all.clients(t)
	warm(t, clients)
	contract.Release(t, contract.Lock(t, redlock.New(clients, "first")))
	before := runtime.NumGoroutine()
	var leases []*holdfast.Lease
	for i := range 500 {
		leases = append(leases, contract.Lock(t, redlock.New(clients, strings.Repeat("n", i+1))))
	}
	if n := runtime.NumGoroutine(); n > before+40 { // connections and senders
		t.Errorf("%d goroutines with 500 leases, %d before", n, before)
	}
	for _, l := range leases {
		contract.Release(t, l)
	}
}

// TestDeadlineCountsFromTheSend: what the answers take is lost from the lease.
func TestDeadlineCountsFromTheSend(t *testing.T) {
	t.Parallel()
	const ttl, margin = 30 * time.Second, 302 * time.Millisecond
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	var held []*faultproxy.Rule
	for _, p := range proxies {
		held = append(held, p.Add(faultproxy.First(1, acquire), faultproxy.HoldReply))
	}
	in := contract.Go(t.Context(), try{redlock.New(clients, "send", holdfast.WithTTL(ttl))})
	for _, r := range held {
		hit(t, r)
	}
	answered := time.Now()
	for _, r := range held {
		r.Release()
	}
	r := contract.Get(t, in)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if d := r.Lease.Deadline().Sub(answered); d >= ttl-margin {
		t.Errorf("the deadline is %v after all servers had done it, TTL %v", d, ttl)
	}
	contract.Release(t, r.Lease)
}

// TestReleaseWaitsForAcquire: the release to a server whose acquire is still under
// way must not overtake it, and then needs no tombstone.
func TestReleaseWaitsForAcquire(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	late := proxies[2].Add(faultproxy.First(1, acquire), faultproxy.HoldRequest)
	given := proxies[2].Add(faultproxy.All(release, faultproxy.HasArg(key("order"))), faultproxy.Pass)
	lease := contract.Lock(t, redlock.New(clients, "order", holdfast.WithTTL(100*time.Second))) // a try may take 500 ms
	hit(t, late)
	contract.Release(t, lease)
	for range 10 { // meanwhile the release would have come
		contract.Release(t, contract.Lock(t, redlock.New(clients[2:], "arrive", fast)))
	}
	if given.Hits() != 0 {
		t.Error("the release came before the acquire")
	}
	late.Release()
	hit(t, given)
	all.awaitHolds(t, "order", 0)
	if queues := all[2].rdb.Keys(t.Context(), "holdfast:q:*order").Val(); len(queues) != 0 {
		t.Errorf("tombstones: %v", queues)
	}
}

// TestTriesAreApart: what comes between two tries is random.
func TestTriesAreApart(t *testing.T) {
	t.Parallel()
	const pause = 100 * time.Millisecond
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	lease := contract.Lock(t, all.lock(t, "apart"))
	tries := proxies[0].Add(acquire, faultproxy.Pass)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	even := holdfast.WithBackOff(func() holdfast.BackOff { return constant(pause) })
	waiting := contract.Go(ctx, redlock.New(clients, "apart", even))
	shortest := time.Hour
	last := time.Time{}
	for n := range 16 {
		if err := tries.WaitHits(ctx, n+1); err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); n > 0 {
			shortest = min(shortest, now.Sub(last))
		}
		last = time.Now()
	}
	if shortest > pause*9/10 || shortest < pause/5-pause/10 {
		t.Errorf("the shortest of 15 pauses was %v, of %v", shortest, pause)
	}
	cancel()
	if r := contract.Get(t, waiting); !errors.Is(r.Err, context.Canceled) || !errors.Is(r.Err, holdfast.ErrNotAcquired) {
		t.Errorf("Lock: %v", r.Err)
	}
	contract.Release(t, lease)
}

// TestTryLockOfAFreeLock: one try is enough, however the answers and the caller's
// goroutine interleave.
func TestTryLockOfAFreeLock(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		all := start(t, n)
		clients := all.clients(t)
		warm(t, clients)
		for i := range 1500 {
			lease, err := redlock.New(clients, strconv.Itoa(i%200), holdfast.WithTTL(100*time.Second)).TryLock(t.Context())
			if err != nil {
				t.Fatalf("try %d on %d servers: %v", i, n, err)
			}
			contract.Release(t, lease)
		}
	}
}

// TestReleaseAwaitsTheMajority: that one server had forgotten the lock, and says so
// first, is no loss.
func TestReleaseAwaitsTheMajority(t *testing.T) {
	t.Parallel()
	all := start(t, 3)
	clients, proxies := all.proxied(t)
	warm(t, clients)
	lease := contract.Lock(t, redlock.New(clients, "await", fast))
	all.awaitHolds(t, "await", 3)
	testredis.Flush(t, all[0].rdb)
	forgot := proxies[0].Add(release, faultproxy.Pass)
	late := proxies[1].Add(faultproxy.First(1, release), faultproxy.HoldReply)
	released := make(chan error, 1)
	go func() { released <- lease.Release(context.WithoutCancel(t.Context())) }()
	hit(t, forgot)
	hit(t, late)
	for range 10 { // meanwhile the first answer has come
		contract.Release(t, contract.Lock(t, redlock.New(clients[:1], "arrive", fast)))
	}
	late.Release()
	if err := <-released; err != nil {
		t.Errorf("Release: %v", err)
	}
}

// TestOtherServersAreAnotherQueue: in the process, who waits for one set of servers
// does not keep back who wants another.
func TestOtherServersAreAnotherQueue(t *testing.T) {
	t.Parallel()
	all := start(t, 4)
	clients := all.clients(t)
	taken := contract.Lock(t, redlock.New(all[:2].clients(t), "sets"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := contract.Go(ctx, redlock.New(clients[:2], "sets"))
	for range 5 { // with any luck the other one waits by now
		lease := contract.Lock(t, redlock.New([]*holdfast.Client{clients[0], clients[2], clients[3]}, "sets"))
		contract.Release(t, lease)
	}
	cancel()
	if r := contract.Get(t, waiting); !errors.Is(r.Err, context.Canceled) {
		t.Error(r.Err)
	}
	contract.Release(t, taken)
}

// TestLimitIsNotTheCallersEnd: who waited for a connection until the try was over
// is not told that his context has ended.
func TestLimitIsNotTheCallersEnd(t *testing.T) {
	t.Parallel()
	const names = "abcd"
	s := testredis.Start(t)
	c, _ := contract.Connect(t, &redis.Options{Addr: s.Addr(), PoolSize: 1}, holdfast.WithTTL(2*time.Second))
	contract.Release(t, contract.Lock(t, redlock.New([]*holdfast.Client{c}, names)))
	s.Pause()
	var tries []<-chan contract.Result
	for _, name := range names {
		tries = append(tries, contract.Go(t.Context(), try{redlock.New([]*holdfast.Client{c}, string(name))}))
	}
	for _, in := range tries {
		if r := contract.Get(t, in); r.Err == nil || errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("TryLock: %v", r.Err)
		}
	}
	s.Resume()
}
