package contract

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// seer is what every primitive can tell of itself.
type seer interface {
	holdfast.Locker
	Inspect(ctx context.Context) (*holdfast.State, error)
	ForceRelease(ctx context.Context, id string) error
}

func (e *Env) seer(t *testing.T, c *holdfast.Client, name string) seer {
	t.Helper()
	l, ok := e.New(c, name).(seer)
	if !ok {
		t.Fatalf("%T has no Inspect or ForceRelease", l)
	}
	return l
}

func inspect(t *testing.T, l seer) *holdfast.State {
	t.Helper()
	state, err := l.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// inspectSays: who holds, who waits, in order.
func inspectSays(t *testing.T, e *Env) {
	probe := e.seer(t, e.Client(t), "seen")
	if s := inspect(t, probe); s.Used != 0 || s.Token != 0 || len(s.Holders)+len(s.Waiters)+s.HolderCount+s.WaiterCount != 0 {
		t.Errorf("of a lock that nobody ever had: %+v", s)
	}
	lease := Lock(t, e.New(e.Client(t, holdfast.WithHolder("the holder of it"), holdfast.WithTTL(20*time.Second)), "seen"))
	var waiting []<-chan Result
	for i, who := range []string{"first", "second", "third"} {
		waiting = append(waiting, Go(t.Context(), e.New(e.Client(t, holdfast.WithHolder(who)), "seen")))
		e.AwaitWaiters(t, probe, i+1)
	}
	s := inspect(t, probe)
	if s.Kind != e.Name || s.Name != "seen" || s.Token != lease.Token() || s.HolderCount != 1 || s.WaiterCount != 3 {
		t.Errorf("%+v", s)
	}
	if len(s.Holders) != 1 || len(s.Waiters) != 3 {
		t.Fatalf("%+v", s)
	}
	h := s.Holders[0]
	if h.Holder != "the holder of it" || h.ID != lease.ID() || h.Token != lease.Token() || h.Foreign || h.Resting ||
		h.Weight != s.Used || h.Remaining <= 10*time.Second || h.Remaining > 20*time.Second {
		t.Errorf("the holder: %+v, used %d", h, s.Used)
	}
	for i, who := range []string{"first", "second", "third"} {
		w := s.Waiters[i]
		if w.Holder != who || !w.Alive || w.Weight != s.Used || w.Waiting <= 0 || w.Waiting > time.Minute {
			t.Errorf("waiter %d: %+v", i, w)
		}
		if i > 0 && w.Waiting > s.Waiters[i-1].Waiting {
			t.Errorf("waiter %d came before the one in front of it", i)
		}
	}
	Release(t, lease)
	for i, in := range waiting {
		r := Get(t, in)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Lease.ID() != s.Waiters[i].ID {
			t.Errorf("served as number %d: %s, not %s", i, r.Lease.ID(), s.Waiters[i].ID)
		}
		Release(t, r.Lease)
	}
}

// inspectChangesNothing, and is one command.
func inspectChangesNothing(t *testing.T, e *Env) {
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	a, b := e.Client(t, slow), e.Client(t, slow)
	for _, c := range []*holdfast.Client{a, b} {
		e.Subscribe(t, c) // a new subscription would poll, or renew; so slow, it is there when this returns
	}
	l := e.seer(t, a, "same")
	lease := Lock(t, l)
	waiting := Go(t.Context(), e.New(b, "same"))
	e.AwaitWaiters(t, l, 1)
	inspect(t, l) // loads the script
	before := e.everything(t)
	inspect(t, l)
	if after := e.everything(t); !maps.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if e.Real != nil {
		count := e.Real.CountClientCommands(t)
		inspect(t, l)
		if by := count.ByName(); by["EVALSHA"] != 1 || count.Total() != 1 {
			t.Errorf("sent %v", by)
		}
	}
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)
}

// everything is all keys with their contents.
func (e *Env) everything(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, key := range e.names(t, "*") {
		all[key] = e.Redis.Dump(t.Context(), key).Val()
	}
	return all
}

// forceRelease: the holder is told at once, and the next waiter has the lock.
func forceRelease(t *testing.T, e *Env) {
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	a, b := e.Client(t), e.Client(t, slow)
	e.Subscribe(t, a)
	lease := Lock(t, e.New(a, "forced"))
	probe := e.seer(t, e.Client(t), "forced")
	waiting := Go(t.Context(), e.New(b, "forced"))
	e.AwaitWaiters(t, probe, 1)
	if err := probe.ForceRelease(t.Context(), inspect(t, probe).Waiters[0].ID); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("of one who waits: %v", err)
	}
	if err := probe.ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	<-lease.Done()
	if d := time.Since(told); d > 5*time.Second { // its next renewal is due after 9
		t.Errorf("told after %v", d)
	}
	if reason := lostReason(lease.Err()); reason != holdfast.LostTaken {
		t.Errorf("lost because %q: %v", reason, lease.Err())
	}
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Lease.Token() <= lease.Token() {
		t.Errorf("token %d after %d", r.Lease.Token(), lease.Token())
	}
	if err := probe.ForceRelease(t.Context(), lease.ID()); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("a second time: %v", err)
	}
	if err := lease.Release(t.Context()); !errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Release: %v", err)
	}
	if err := r.Lease.Err(); err != nil {
		t.Errorf("the next holder: %v", err)
	}
	Release(t, r.Lease)
	e.NothingLeft(t)
}

// forcedBeforeListening: a lease that is taken away before its client listens is
// lost as soon as it does.
func forcedBeforeListening(t *testing.T, e *Env) {
	lease := Lock(t, e.New(e.Client(t), "young"))
	probe := e.seer(t, e.Client(t), "young")
	if err := probe.ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	<-lease.Done()
	if d := time.Since(told); d > 5*time.Second { // its next renewal is due after 9
		t.Errorf("told after %v", d)
	}
	if err := lease.Err(); !errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Err: %v", err)
	}
}

// forcedBeforeAnswer: what is taken away before its acquire was answered is not
// held, though the answer says so.
func forcedBeforeAnswer(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	e.Subscribe(t, b)
	late := p.Add(faultproxy.First(1, e.first()), faultproxy.HoldReply)
	waiting := Go(t.Context(), e.New(b, "early"))
	hit(t, late)
	probe := e.seer(t, e.Client(t), "early")
	if err := probe.ForceRelease(t.Context(), inspect(t, probe).Holders[0].ID); err != nil {
		t.Fatal(err)
	}
	other := Lock(t, probe)
	e.Subscribe(t, b) // a later wake-up came: so did the word of the forced release
	late.Release()
	e.AwaitWaiters(t, probe, 1)
	if !pending(waiting) {
		t.Error("the answer was believed")
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Errorf("the holder was harmed: %v", err)
	}
	Release(t, other)
	servedAfter(t, waiting, other)
}

// forcedWhileItSubscribes: a client that comes to listen before its young lease
// would have made it do so renews that lease, too.
func forcedWhileItSubscribes(t *testing.T, e *Env) {
	c := e.Client(t)
	lease := Lock(t, e.New(c, "younger"))
	probe := e.seer(t, e.Client(t), "younger")
	if err := probe.ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	e.Subscribe(t, c)
	told := time.Now()
	<-lease.Done()
	if d := time.Since(told); d > 5*time.Second { // its next renewal is due after 9
		t.Errorf("told after %v", d)
	}
}

// forceOfNothing: what is no lease is refused, and nothing changes.
func forceOfNothing(t *testing.T, e *Env) {
	c := e.Client(t)
	l := e.seer(t, c, "nothing")
	lease := Lock(t, l)
	for _, id := range []string{"", "*", "x", lease.ID() + " ", lease.ID() + "*", lease.ID()[:36], "?" + lease.ID()[1:]} {
		if err := l.ForceRelease(t.Context(), id); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("ForceRelease(%q): %v", id, err)
		}
	}
	if err := l.ForceRelease(t.Context(), lease.ID()+"0"); !errors.Is(err, holdfast.ErrReleased) {
		t.Errorf("of an ID that nobody has: %v", err)
	}
	if err := lease.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	var none context.Context
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, f := range []func(ctx context.Context) error{
		func(ctx context.Context) error { _, err := l.Inspect(ctx); return err },
		func(ctx context.Context) error { return l.ForceRelease(ctx, lease.ID()) },
	} {
		if err := f(none); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("with a nil context: %v", err)
		}
		if err := f(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
	Release(t, lease)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Inspect(t.Context()); !errors.Is(err, holdfast.ErrClosed) {
		t.Errorf("Inspect after Close: %v", err)
	}
}
