package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

func waitEndsWithContext(t *testing.T, e *Env) {
	a, b := e.New(e.Client(t, holdfast.WithHolder("the first")), "ends"), e.New(e.Client(t), "ends")
	lease := Lock(t, a)
	reason := errors.New("the user went away")
	for name, end := range map[string]func() (context.Context, error){
		"deadline": func() (context.Context, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx, context.DeadlineExceeded
		},
		"cancel": func() (context.Context, error) {
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				e.AwaitWaiters(t, a, 1)
				cancel(reason)
			}()
			return ctx, context.Canceled
		},
	} {
		if name == "cancel" && e.Unordered {
			continue // nothing tells from outside that it waits
		}
		e.AwaitWaiters(t, a, 0)
		ctx, want := end()
		r := Get(t, Go(ctx, b))
		var held *holdfast.HeldError
		if !errors.Is(r.Err, want) || !errors.As(r.Err, &held) || held.Holder != "the first" {
			t.Errorf("%s: %v", name, r.Err)
		}
		if name == "cancel" && !errors.Is(r.Err, reason) {
			t.Errorf("the cause is missing: %v", r.Err)
		}
	}
	e.AwaitWaiters(t, a, 0)
	Release(t, lease)
	e.NothingLeft(t)
}

func endedContextTakesNothing(t *testing.T, e *Env) {
	l := e.New(e.Client(t), "ended")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, lock := range []func(context.Context) (*holdfast.Lease, error){l.Lock, l.TryLock} {
		if lease, err := lock(ctx); lease != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v, %v", lease, err)
		}
	}
	err := l.Do(ctx, func(context.Context) error { t.Error("fn ran"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := e.Redis.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys", n)
	}
}

func maxWait(t *testing.T, e *Env) {
	a := e.New(e.Client(t), "maxwait")
	lease := Lock(t, a)
	c := e.Client(t)
	for _, d := range []time.Duration{0, 60 * time.Millisecond} {
		b := e.New(c, "maxwait", holdfast.WithMaxWait(d))
		before := time.Now()
		_, err := b.Lock(t.Context())
		var held *holdfast.HeldError
		if !errors.As(err, &held) || held.Holder == "" || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WithMaxWait(%v): %v", d, err)
		}
		if passed := time.Since(before); passed < d {
			t.Errorf("WithMaxWait(%v) gave up after %v", d, passed)
		}
		if err := b.Do(t.Context(), func(context.Context) error { return nil }); !errors.As(err, &held) {
			t.Errorf("Do: %v", err)
		}
	}
	Release(t, lease)
	b := e.New(c, "maxwait", holdfast.WithMaxWait(10*time.Second))
	Release(t, Lock(t, b))
	e.NothingLeft(t)
}

// refusedWaiterLeaves: a waiter whom Redis refuses, as long as something else is in
// the lock's key, has a place that is granted once it is gone. It is given back then.
func refusedWaiterLeaves(t *testing.T, e *Env) {
	key := "holdfast:" + e.Name + ":refused"
	lost := Lock(t, e.New(e.Client(t), "refused"))
	waiting := Go(t.Context(), e.New(e.Client(t), "refused"))
	e.AwaitWaiters(t, e.New(e.Client(t), "refused"), 1)
	_, err := e.Redis.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Del(t.Context(), key)
		return p.LPush(t.Context(), key, "a list").Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := Get(t, waiting); r.Err == nil || !strings.Contains(r.Err.Error(), "WRONGTYPE") {
		t.Fatalf("a list in the place of the lock: %v", r.Err)
	}
	if err = e.Redis.Del(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // the waiter's TTL is thirty
	defer cancel()
	lease, err := e.New(e.Client(t), "refused").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	Release(t, lease)
	if err := lost.Release(t.Context()); !errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Release of what was deleted: %v", err)
	}
}

// cancelledWaiterLeaves: cancelled before it is granted, at any place in the
// queue and in the process.
func cancelledWaiterLeaves(t *testing.T, e *Env) {
	holder := e.New(e.Client(t), "leave")
	lease := Lock(t, holder)
	var results []<-chan Result
	var cancels []context.CancelFunc
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		results = append(results, Go(ctx, e.New(e.Client(t), "leave")))
		cancels = append(cancels, cancel)
		e.AwaitWaiters(t, holder, i+1)
	}
	shared := e.Client(t) // two goroutines behind one place
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	front := Go(ctx, e.New(shared, "leave"))
	e.AwaitWaiters(t, holder, 4)
	behind := Go(t.Context(), e.New(shared, "leave"))
	places := 4
	if e.Shared {
		places = 5
	}
	e.AwaitWaiters(t, holder, places)

	cancels[1]()
	if r := Get(t, results[1]); !errors.Is(r.Err, context.Canceled) {
		t.Error(r.Err)
	}
	cancel()
	if r := Get(t, front); !errors.Is(r.Err, context.Canceled) {
		t.Error(r.Err)
	}
	e.AwaitWaiters(t, holder, 3) // 0, 2, and the one that was behind
	Release(t, lease)
	for _, in := range []<-chan Result{results[0], results[2], behind} {
		r := Get(t, in)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		Release(t, r.Lease)
	}
	e.NothingLeft(t)
}

// cancelledWhileGranted cancels waiters at the instant of the release, many
// times: whoever wins, the next waiter runs and nothing is left.
func cancelledWhileGranted(t *testing.T, e *Env) {
	a, b, c := e.New(e.Client(t), "race"), e.New(e.Client(t), "race"), e.New(e.Client(t), "race")
	var granted, cancelled int
	for i := range 60 {
		lease := Lock(t, a)
		ctx, cancel := context.WithCancel(t.Context())
		second := Go(ctx, b)
		e.AwaitWaiters(t, a, 1)
		third := Go(t.Context(), c)
		e.AwaitWaiters(t, a, 2)
		go func() {
			timer := time.NewTimer(time.Duration(i*10) * time.Microsecond)
			<-timer.C
			cancel()
		}()
		Release(t, lease)
		if r := Get(t, second); r.Err == nil {
			granted++
			Release(t, r.Lease)
		} else {
			cancelled++
			if !errors.Is(r.Err, context.Canceled) {
				t.Error(r.Err)
			}
		}
		r := Get(t, third)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		Release(t, r.Lease)
		cancel()
	}
	t.Logf("%d granted, %d cancelled", granted, cancelled)
	e.NothingLeft(t)
}

// deadWaiterIsSkipped: a waiter whose process is gone does not get the lock
// once its liveness is over.
func deadWaiterIsSkipped(t *testing.T, e *Env) {
	fast := holdfast.WithBackOff(func() holdfast.BackOff { return constant(20 * time.Millisecond) })
	a := e.New(e.Client(t), "dead")
	lease := Lock(t, a)
	gone := e.Abandoned(t, "dead", fast)
	e.AwaitWaiters(t, a, 1)
	next := Go(t.Context(), e.New(e.Client(t), "dead"))
	e.AwaitWaiters(t, a, 2)
	gone()
	time.Sleep(150 * time.Millisecond) // its liveness: 100 ms at least, 3 polls
	Release(t, lease)
	before := time.Now()
	r := Get(t, next)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if d := time.Since(before); d > 5*time.Second {
		t.Errorf("the next waiter ran after %v", d)
	}
	Release(t, r.Lease)
	e.NothingLeft(t)
}

// Abandoned queues a waiter on name whose process then vanishes, from Redis's
// view: calling what it returns cuts it off.
func (e *Env) Abandoned(t *testing.T, name string, opts ...holdfast.Option) (cutOff func()) {
	t.Helper()
	var dead atomic.Bool
	rdb := e.dial(true) // else it is used without its hooks
	rdb.AddHook(severed{&dead})
	c, err := holdfast.New(rdb, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := Go(ctx, e.New(c, name))
	t.Cleanup(func() {
		cancel()
		<-result
		closing, stop := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer stop()
		_ = c.Close(closing) // it reaches nobody
		_ = rdb.Close()
	})
	return func() { dead.Store(true) }
}

var errSevered = errors.New("severed by the test")

// severed lets no command through once dead is set.
type severed struct{ dead *atomic.Bool }

func (severed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s severed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if s.dead.Load() {
			cmd.SetErr(errSevered)
			return errSevered
		}
		return next(ctx, cmd)
	}
}

func (s severed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if s.dead.Load() {
			for _, c := range cmds {
				c.SetErr(errSevered)
			}
			return errSevered
		}
		return next(ctx, cmds)
	}
}

// manyDeadWaitersAreSkipped needs more than one script: each passes at most 128
// places.
func manyDeadWaitersAreSkipped(t *testing.T, e *Env) {
	ctx := t.Context()
	a := e.New(e.Client(t), "ghosts")
	lease := Lock(t, a)
	waiting := Go(ctx, e.New(e.Client(t), "ghosts")) // makes the queue, is first
	e.AwaitWaiters(t, a, 1)
	queue := e.queue(t)
	var places []redis.Z
	for i := range 300 {
		place := fmt.Sprintf("ghost:%d %s", i, e.Request)
		places = append(places, redis.Z{Score: float64(i + 1), Member: place}) // before the live one
	}
	if err := e.Redis.ZAdd(ctx, queue, places...).Err(); err != nil {
		t.Fatal(err)
	}
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)

	lease = Lock(t, a)
	if err := e.Redis.ZAdd(ctx, queue, places...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := e.remove(t, lease); err != nil {
		t.Fatal(err)
	}
	won, err := e.New(e.Client(t), "ghosts").TryLock(ctx)
	if err != nil {
		t.Fatalf("TryLock says busy although only the dead are in the way: %v", err)
	}
	Release(t, won)
	_ = lease.Release(ctx) // lost
	e.NothingLeft(t)
}

// queue is the one queue there is.
func (e *Env) queue(t *testing.T) string {
	t.Helper()
	names := e.names(t, "holdfast:q:*")
	if len(names) != 1 {
		t.Fatalf("queues: %v", names)
	}
	return names[0]
}

func (e *Env) lockKey(t *testing.T, l *holdfast.Lease) string {
	t.Helper()
	return "holdfast:" + e.Name + ":" + l.Name()
}

// deadHolderFreesAtTTL: a holder that vanishes costs one TTL.
func deadHolderFreesAtTTL(t *testing.T, e *Env) {
	const ttl = 400 * time.Millisecond
	vanishing := e.Client(t, holdfast.WithTTL(ttl), holdfast.WithoutRenewal())
	lease := Lock(t, e.New(vanishing, "crash"))
	deadline := lease.Deadline()
	waiting := Go(t.Context(), e.New(e.Client(t), "crash"))
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	acquired := time.Now()
	if lease.Err() == nil {
		t.Error("the first lease is still held, by its own clock")
	}
	// Its end is told to Redis as well, so the waiter need not wait out the margin.
	if acquired.Before(deadline) || acquired.After(deadline.Add(5*time.Second)) {
		t.Errorf("the waiter ran %v after the deadline", acquired.Sub(deadline))
	}
	Release(t, r.Lease)
}
