package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/kind"
)

// later answers some commands later than the server does.
type later func(cmd redis.Cmder)

func (later) DialHook(next redis.DialHook) redis.DialHook { return next }
func (later) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l later) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l(cmd)
		return err
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(20 * time.Microsecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// isAnswered tells whether Redis has answered for a place.
func (h *hold) isAnswered() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answered
}

func (h *hold) isOver() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == over
}

// laneOf is where those wait who want the lock; somebody must.
func laneOf(k *Core) *ticketLane {
	t, _ := k.enter("")
	t.Leave()
	return t.Lane()
}

// locked is what a Lock leads to.
type locked struct {
	lease *Lease
	err   error
}

func goLock(ctx context.Context, k *Core) <-chan locked {
	done := make(chan locked, 1)
	go func() {
		lease, err := k.Lock(ctx)
		done <- locked{lease, err}
	}()
	return done
}

// letGo releases what may have been lost meanwhile.
func letGo(t *testing.T, l *Lease) {
	t.Helper()
	if l == nil {
		return
	}
	if err := l.Release(t.Context()); err != nil && !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// A first acquire whose answer comes after its own lease is nothing that the next
// one in the lane could wait for.
func TestLateAnswerOfOneWhoLeft(t *testing.T) {
	t.Parallel()
	const ttl = 100 * time.Millisecond
	var armed atomic.Bool
	sent, answer := make(chan struct{}), make(chan struct{})
	k := lockOf(t, nil, WithTTL(ttl))
	k.client.origin.AddHook(later(func(cmd redis.Cmder) {
		if slices.Contains(cmd.Args(), modeLock) && armed.CompareAndSwap(true, false) {
			close(sent)
			<-answer
		}
	}))
	k.client.inbox.Start() // or the subscription, when it came, would mend it
	eventually(t, "the subscription", k.client.inbox.Live)
	eventually(t, "what it is asked for to be over", k.client.listens.Load)

	warm, err := NewCore(k.client, kind.Mutex, "warm").Lock(t.Context()) // the script is there
	if err != nil {
		t.Fatal(err)
	}
	letGo(t, warm)
	armed.Store(true)
	first, leave := context.WithCancel(t.Context())
	one := goLock(first, k)
	<-sent
	long, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	two := goLock(long, k)
	time.Sleep(2 * ttl) // Redis is so slow, or this process
	leave()
	close(answer)
	if r := <-one; !errors.Is(r.err, context.Canceled) {
		t.Errorf("cancelled: %v", r.err)
	}
	r := <-two
	if r.err != nil {
		t.Errorf("the second slept on, though nobody held the lock: %v", r.err)
	}
	letGo(t, r.lease)
}

// A place that was given up, and is asked for once more before its leave, does not
// take the lane's next place with it: that would be granted to nobody.
func TestPlaceOfAnother(t *testing.T) {
	t.Parallel()
	k := lockOf(t, nil)
	for i := range 100 {
		if placeOfAnother(t, NewCore(k.client, kind.Mutex, fmt.Sprint(i), WithTTL(3*time.Second))) {
			return
		}
	}
	t.Error("nothing was passed on")
}

// placeOfAnother tells whether the machine was fast enough for it.
func placeOfAnother(t *testing.T, k *Core) bool {
	t.Helper()
	held, err := k.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ticket, _ := k.enter("")
	given := k.place(ticket, "", nil)
	sought := make(chan error, 1)
	go func() { sought <- given.seek(ctx, ticket) }()
	eventually(t, "the place", given.isAnswered)
	cancel()
	<-sought
	if unwanted := ticket.Leave(); unwanted != given {
		t.Fatal("the place is not given up")
	}
	// Here its goroutine stops for a while, and leaves later.
	long, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	first := goLock(long, k)
	eventually(t, "the next place", func() bool { p := ticket.Lane().Place(); return p != given && p.isAnswered() })
	letGo(t, held)
	one := <-first
	if one.err != nil {
		t.Fatal(one.err)
	}
	if one.lease.t.turn == 0 {
		given.leave()
		letGo(t, one.lease)
		return false
	}
	given.pollSoon(0)
	eventually(t, "its end", given.isOver)
	second := goLock(long, k)
	eventually(t, "somebody who waits", func() bool { return ticket.Lane().Place() != nil })
	one.lease.t.hold.mu.Lock()
	one.lease.t.hold.succession.others.Store(others)
	one.lease.t.hold.succession.until = time.Now() // the turn is over
	one.lease.t.hold.mu.Unlock()
	letGo(t, one.lease)
	two := <-second
	if two.err != nil {
		t.Errorf("the lock was granted to nobody: %v", two.err)
	}
	letGo(t, two.lease)
	given.leave() // its goroutine goes on
	return true
}

// Who came to the front because the one before was given the lock says what Redis
// said of the place, as any front does.
func TestFrontSaysWhatRedisSaid(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	k := lockOf(t, func(redis.Cmder) bool { return failing.Load() }, WithTTL(300*time.Millisecond))
	for range 100 {
		lease, err := k.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first := goLock(t.Context(), k)
		lane := laneOf(k)
		eventually(t, "the place", func() bool { return lane.Place().isAnswered() })
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		second := goLock(short, k)
		time.Sleep(5 * time.Millisecond) // it stands behind the first then: else it looks by itself
		letGo(t, lease)
		one := <-first
		passed := one.err == nil && one.lease.t.turn > 0 && lane.Holder() == one.lease.t.hold
		if passed {
			failing.Store(true)
			r := <-second
			failing.Store(false)
			if r.err == nil || !strings.Contains(r.err.Error(), "LOADING") {
				t.Errorf("the front, when all polls of its place failed: %v", r.err)
			}
		}
		letGo(t, one.lease)
		if passed {
			cancel()
			return
		}
		letGo(t, (<-second).lease)
		cancel()
	}
	t.Error("nothing was passed on")
}

// A token that was given inside a process is nobody else's, also if the lock is
// taken away by force twice, faster than the clock comes after what was reserved.
func TestTokenAfterForce(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	k := lockOf(t, func(cmd redis.Cmder) bool { return refuse.Load() && slices.Contains(cmd.Args(), modeNext) })
	other, err := New(k.client.origin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(t.Context())) }()
	shown := 0
	for i := 0; i < 200 && shown < 3; i++ {
		refuse.Store(false)
		name := fmt.Sprint(i)
		if forcedTwice(t, NewCore(k.client, kind.Mutex, name), NewCore(other, kind.Mutex, name), &refuse) {
			shown++
		}
	}
	if shown == 0 {
		t.Error("nothing was passed on in time")
	}
}

// forcedTwice tells whether something was passed on between the two.
func forcedTwice(t *testing.T, k, o *Core, refuse *atomic.Bool) (shown bool) {
	t.Helper()
	lease, err := k.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Lease, 3)
	for range cap(got) {
		go func() {
			l, err := k.Lock(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
	}
	lane := laneOf(k)
	eventually(t, "the place", func() bool { return lane.Place().isAnswered() })
	refuse.Store(true) // no tokens are reserved from now on
	if err := o.ForceRelease(t.Context(), lease.ID()); err != nil {
		t.Fatal(err)
	}
	letGo(t, <-got)
	second := <-got
	if second != nil && second.t.turn > 0 && o.ForceRelease(t.Context(), second.ID()) == nil {
		if l, err := o.TryLock(t.Context()); err == nil {
			shown = true
			if l.Token() <= second.Token() {
				t.Errorf("%d after %d", l.Token(), second.Token())
			}
			letGo(t, l)
		}
	}
	refuse.Store(false)
	letGo(t, second)
	letGo(t, <-got)
	return shown
}

// A try that succeeds while the lock counts as held proves that it is lost.
func TestTryProvesLoss(t *testing.T) {
	t.Parallel()
	k := lockOf(t, nil)
	first, err := k.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = k.client.origin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	second, err := k.TryLock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(first.Err(), ErrLost) {
		t.Errorf("after another has it: %v", first.Err())
	}
	if second.Err() != nil {
		t.Error(second.Err())
	}
	letGo(t, second)
}
