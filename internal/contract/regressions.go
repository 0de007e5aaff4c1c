package contract

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// pollUnderWay: a wake-up that comes while a poll's answer is under way must not
// keep back the first renewal, which is due at once after a long wait.
func pollUnderWay(t *testing.T, e *Env) {
	const ttl = 1500 * time.Millisecond
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	b, p := e.proxied(t, holdfast.WithTTL(ttl), slow)
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "underway")
	lease := Lock(t, a)
	waiting := Go(t.Context(), e.New(b, "underway"))
	e.AwaitWaiters(t, a, 1)
	poll := p.Add(e.poll(), faultproxy.HoldReply)
	hit(t, poll)
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	first := r.Lease.Deadline()
	Eventually(t, "a renewal beside the poll", func() bool {
		if err := r.Lease.Err(); err != nil {
			t.Fatalf("lost although Redis is well: %v", err)
		}
		return r.Lease.Deadline().After(first)
	})
	poll.Release()
	poll.Remove()
	Release(t, r.Lease)
}

// oneRelease: a wake-up that comes while Release is under way must not send a
// second release, whose answer would make the first one look like a loss.
func oneRelease(t *testing.T, e *Env) {
	b, p := e.proxied(t, holdfast.WithTTL(2*time.Second))
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "one")
	lease := Lock(t, a)
	p.HoldPushes()
	waiting := Go(t.Context(), e.New(b, "one"))
	e.AwaitWaiters(t, a, 1)
	Release(t, lease)
	r := Get(t, waiting) // by a poll: the wake-up is held
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	held := p.Add(faultproxy.First(1, e.release()), faultproxy.HoldRequest)
	released := make(chan error, 1)
	go func() { released <- r.Lease.Release(t.Context()) }()
	hit(t, held)
	push(t, p)
	p.ReleasePushes()
	e.Subscribe(t, b) // a later wake-up came: so did that one
	held.Release()
	if err := <-released; err != nil {
		t.Errorf("Release: %v", err)
	}
}

// stuck is a BackOff that does not return until end is closed, but the first time.
type stuck struct {
	calls int
	in    chan<- struct{} // closed when it is stuck; may be nil
	end   <-chan struct{}
}

func (s *stuck) NextBackOff() time.Duration {
	if s.calls++; s.calls > 1 {
		if s.in != nil && s.calls == 2 {
			close(s.in)
		}
		<-s.end
	}
	return 10 * time.Millisecond
}
func (*stuck) Reset() {}

// userCodeBlocks: a BackOff or a log handler that blocks harms no lease, nor any
// other Lock than the one that waits with it.
func userCodeBlocks(t *testing.T, e *Env) {
	const ttl = 600 * time.Millisecond
	end := make(chan struct{})
	c := e.Client(t, holdfast.WithTTL(ttl), holdfast.WithLogger(slog.New(stuckHandler{end})))
	kept := Lock(t, e.New(c, "kept"))
	first := kept.Deadline()

	other := Lock(t, e.New(e.Client(t), "waited"))
	waiting := Go(t.Context(), e.New(c, "waited", holdfast.WithBackOff(func() holdfast.BackOff { return &stuck{end: end} })))
	for _, name := range []string{"l1", "l2", "l3", "l4", "l5", "l6"} { // more than there are senders
		lease := Lock(t, e.New(c, name))
		if err := e.remove(t, lease); err != nil {
			t.Fatal(err)
		}
		<-lease.Done() // and is logged
	}
	Eventually(t, "renewals", func() bool {
		if err := kept.Err(); err != nil {
			t.Fatal(err)
		}
		return kept.Deadline().After(first.Add(3 * ttl))
	})
	Release(t, kept)
	Release(t, other)
	close(end)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)
}

type stuckHandler struct{ end <-chan struct{} }

func (stuckHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h stuckHandler) Handle(context.Context, slog.Record) error {
	<-h.end
	return nil
}
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h stuckHandler) WithGroup(string) slog.Handler      { return h }

// grantEndsUnseen: a waiter that is granted the lock while its goroutine does not
// run, and whose lease is over when it does, waits on under a new id, rather than
// for what has come and gone.
func grantEndsUnseen(t *testing.T, e *Env) {
	const ttl = 100 * time.Millisecond
	in, end := make(chan struct{}), make(chan struct{})
	a := e.New(e.Client(t), "unseen")
	lease := Lock(t, a)
	c, p := e.proxied(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal())
	given := p.Add(e.release(), faultproxy.Pass)
	waiting := Go(t.Context(), e.New(c, "unseen", holdfast.WithBackOff(func() holdfast.BackOff { return &stuck{in: in, end: end} })))
	<-in
	Release(t, lease) // grants it
	hit(t, given)     // its lease has ended, and it gives back what is left
	close(end)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := r.Lease.Release(t.Context()); err != nil && !errors.Is(err, holdfast.ErrLost) { // it is short
		t.Errorf("Release: %v", err)
	}
	e.NothingLeft(t)
}

// growing is a BackOff that begins short and goes on long.
type growing struct{ calls int }

func (g *growing) NextBackOff() time.Duration {
	if g.calls++; g.calls == 1 {
		return 20 * time.Millisecond
	}
	return 600 * time.Millisecond
}
func (*growing) Reset() {}

// placeLives: a place counts as alive until its waiter polls, also if the first
// acquires failed and the interval has grown meanwhile.
func placeLives(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	e.Subscribe(t, b) // a new subscription would poll at once
	a := e.New(e.Client(t), "lives")
	lease := Lock(t, a)
	failing := p.Add(faultproxy.First(3, e.first()), faultproxy.ReplyError("LOADING Redis is loading the dataset in memory"))
	polls := p.Add(e.poll(), faultproxy.Pass)
	waiting := Go(t.Context(), e.New(b, "lives", holdfast.WithBackOff(func() holdfast.BackOff { return &growing{} })))
	e.AwaitWaiters(t, a, 1)
	var alive time.Time
	for _, z := range e.Redis.ZRangeWithScores(t.Context(), e.queue(t), 0, -1).Val() {
		if member, _ := z.Member.(string); strings.HasPrefix(member, "live ") {
			alive = time.UnixMilli(int64(-z.Score))
		}
	}
	Eventually(t, "its poll", func() bool { return polls.Hits() > 0 })
	if now := e.Redis.Time(t.Context()).Val(); failing.Hits() != 3 || now.After(alive) {
		t.Errorf("after %d failures the place was dead %v before its first poll", failing.Hits(), now.Sub(alive))
	}
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)
}

// failureIsSaid: those behind the front of their process learn why it waits, and a
// holder why its lease is lost.
func failureIsSaid(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	rule := p.Add(e.first(), faultproxy.ReplyError("LOADING Redis is loading the dataset in memory"))
	defer rule.Remove()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	l := e.New(b, "said")
	front, behind := Go(ctx, l), Go(ctx, l)
	for _, in := range []<-chan Result{front, behind} {
		r := Get(t, in)
		if !errors.Is(r.Err, context.DeadlineExceeded) || !contains(r.Err, "LOADING") {
			t.Errorf("Lock: %v", r.Err)
		}
	}
	limited := e.New(b, "said", holdfast.WithMaxWait(100*time.Millisecond))
	if _, err := limited.Lock(t.Context()); errors.Is(err, context.DeadlineExceeded) || !contains(err, "LOADING") {
		t.Errorf("Lock with WithMaxWait: %v", err)
	}
	rule.Remove()

	// So does the holder of a lease that could not be renewed, though the last tries
	// have no time left to be answered.
	lease := Lock(t, e.New(b, "said", holdfast.WithTTL(600*time.Millisecond)))
	refused := p.Add(faultproxy.First(2, e.renew()), faultproxy.ReplyError("NOREPLICAS Not enough good replicas to write."))
	p.Add(e.renew(), faultproxy.SwallowReplyThenHang)
	<-lease.Done()
	if err := lease.Err(); refused.Hits() != 2 || !errors.Is(err, holdfast.ErrLost) || !contains(err, "NOREPLICAS") {
		t.Errorf("after %d refusals: %v", refused.Hits(), err)
	}
}

// minHoldOverTrouble: a release that Redis refuses for long still keeps the
// minimum hold.
func minHoldOverTrouble(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	rule := p.Add(e.release(), faultproxy.ReplyError("TRYAGAIN Multiple keys request during rehashing of slot"))
	defer rule.Remove()
	lease := Lock(t, e.New(b, "drop", holdfast.WithMinHold(20*time.Second)))
	if err := lease.Release(t.Context()); !contains(err, "TRYAGAIN") {
		t.Errorf("Release: %v", err)
	}
	if _, err := e.New(e.Client(t), "drop").TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("the minimum hold was cut short: %v", err)
	}
	if e.Unordered {
		return // its releases have no last resort: servers that are independent are no cluster
	}
	// Without one, the script of one key frees the lock.
	lease = Lock(t, e.New(b, "plain"))
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("Release: %v", err)
	}
	e.free(t, "plain")
}

// nextIsTold: when the head of the queue leaves, the one behind it learns when
// the holder's lease ends, rather than at its own next poll.
func nextIsTold(t *testing.T, e *Env) {
	const ttl = 3 * time.Second
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	c := e.Client(t, slow)
	e.Subscribe(t, c)
	dead := Lock(t, e.New(e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal()), "told"))
	started := time.Now()
	probe := e.New(e.Client(t), "told")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	head := Go(ctx, e.New(e.Client(t, slow), "told"))
	e.AwaitWaiters(t, probe, 1)
	next := Go(t.Context(), e.New(c, "told"))
	e.AwaitWaiters(t, probe, 2)
	cancel()
	Get(t, head)
	r := Get(t, next)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	runtime.KeepAlive(dead)
	if d := time.Since(started); d > ttl+4*time.Second { // its own poll comes after 10 s
		t.Errorf("served %v after the holder took the lock, whose TTL is %v", d, ttl)
	}
	Release(t, r.Lease)
}

// queueEnds: a tombstone in a queue that its own ZREM emptied leaves a TTL.
func queueEnds(t *testing.T, e *Env) {
	b, p := e.proxied(t, holdfast.WithTTL(500*time.Millisecond))
	lost := p.Add(faultproxy.First(1, e.first()), faultproxy.SwallowReplyThenHang)
	a := Lock(t, e.New(e.Client(t), "ends"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.New(b, "ends").Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	hit(t, lost)
	Release(t, a)
	e.NothingLeft(t)
	for _, name := range e.names(t, "*") {
		if ttl := e.Redis.PTTL(t.Context(), name).Val(); ttl <= 0 && e.Redis.Exists(t.Context(), name).Val() == 1 {
			t.Errorf("%s has no TTL", name)
		}
	}
}

// oneConnectionHangs: Release tries another one.
func oneConnectionHangs(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	lease := Lock(t, e.New(b, "hangs"))
	rule := p.Add(faultproxy.First(1, e.release()), faultproxy.SwallowReplyThenHang)
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("Release: %v", err)
	}
	if rule.Hits() != 1 {
		t.Error("nothing hung")
	}
}

// oddContexts: nil and empty things are refused, never a panic.
func oddContexts(t *testing.T, e *Env) {
	c := e.Client(t)
	l := e.New(c, "odd")
	var none context.Context
	if _, err := l.Lock(none); !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("Lock(nil): %v", err)
	}
	for _, zero := range []*holdfast.Lease{nil, {}} {
		ctx := context.WithoutCancel(zero.Context(t.Context()))
		lease, err := l.Lock(ctx)
		if err != nil {
			t.Fatalf("Lock with the context of a zero lease: %v", err)
		}
		Release(t, lease)
	}
	if _, ok := holdfast.FromContext(none); ok {
		t.Error("a lease in a nil context")
	}
	lease := Lock(t, l)
	if ctx := lease.Context(none); !errors.Is(context.Cause(ctx), holdfast.ErrInvalid) {
		t.Error(context.Cause(ctx))
	}
	for _, err := range []error{lease.Renew(none), lease.Release(none), c.Close(none)} {
		if !errors.Is(err, holdfast.ErrInvalid) || !strings.Contains(err.Error(), "nil") {
			t.Error(err)
		}
	}
	Release(t, lease)
}
