package contract

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/lua"
)

// Scripts are those of the kind under test, so that a fault can be aimed at one.
type Scripts struct{ Acquire, Release, Renew *lua.Script }

// The commands that faults are aimed at.
func (e *Env) first() faultproxy.Matcher {
	return faultproxy.All(faultproxy.IsScript(e.Scripts.Acquire.Source()), faultproxy.Not(faultproxy.HasArg("poll")))
}

func (e *Env) poll() faultproxy.Matcher {
	return faultproxy.All(faultproxy.IsScript(e.Scripts.Acquire.Source()), faultproxy.HasArg("poll"))
}

func (e *Env) release() faultproxy.Matcher { return faultproxy.IsScript(e.Scripts.Release.Source()) }
func (e *Env) renew() faultproxy.Matcher   { return faultproxy.IsScript(e.Scripts.Renew.Source()) }

// RunFaults runs the tests that interfere with the network. Each interleaving
// that the protocol's rules are there for is forced, message by message.
func RunFaults(t *testing.T, k Kind) {
	t.Helper()
	queue := []testCase{
		{"Rule1StaleWakeUpIsNotBelieved", staleWakeUp},
		{"Rule1OldTokenIsNotBelieved", oldToken},
		{"Rule2LiveLeaseIsNotGivenBack", liveLeaseIsKept},
		{"Rule3LateReplyIsNoLease", lateReply},
		{"Rule7LatePollTakesNothing", latePoll},
		{"LateCopiesChangeNothing", lateCopies},
		{"LeaveReplyLost", leaveReplyLost},
		{"WakeUpLost", wakeUpLost},
		{"SubscriptionKilled", subscriptionKilled},
		{"SubscribedAfterTheRelease", subscribedLate},
		{"PollUnderWayKeepsNoRenewalBack", pollUnderWay},
		{"OneReleaseAtATime", oneRelease},
		{"GrantThatEndsUnseen", grantEndsUnseen},
		{"PlaceLivesUntilItsPoll", placeLives},
		{"NextIsTold", nextIsTold},
		{"ForcedBeforeItsAnswer", forcedBeforeAnswer},
	}
	all := []testCase{
		{"Rule8LateAcquireTakesNothing", lateAcquire},
		{"Rule8LateTryTakesNothing", lateTry},

		{"AcquireReplyLost", acquireReplyLost},
		{"AcquireReplyNeverComes", acquireHangs},
		{"RenewReplyLost", renewReplyLost},
		{"RenewHangsOnce", renewHangsOnce},
		{"RenewalUnderWayAtRelease", renewalAtRelease},
		{"LateRenewalCountsFromItsSend", lateRenewal},
		{"ReleaseReplyLost", releaseReplyLost},
		{"ReleaseHangs", releaseHangs},

		{"CutOffHolderStopsFirst", cutOffHolder},
		{"HungRedisEndsLeases", hungRedis},
		{"PromptWhileRedisHangs", promptWhileHung},
		{"WaitsThroughTrouble", waitsThroughTrouble},
		{"WaitsThroughRestart", waitsThroughRestart},
		{"CloseWithDeadRedis", closeWithDeadRedis},

		{"UserCodeThatBlocksHarmsNobody", userCodeBlocks},
		{"FailureIsSaid", failureIsSaid},
		{"MinHoldOverTrouble", minHoldOverTrouble},
		{"QueueEnds", queueEnds},
		{"OneConnectionHangs", oneConnectionHangs},
		{"OddContexts", oddContexts},
	}
	for _, c := range k.apply(all, queue) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Real(t, k, c.test)
		})
	}
}

// proxied is a client behind a proxy of its own.
func (e *Env) proxied(t *testing.T, opts ...holdfast.Option) (*holdfast.Client, *faultproxy.Proxy) {
	t.Helper()
	p := faultproxy.New(t, e.Addr)
	c, _ := e.ClientAt(t, p.Addr(), opts...)
	// Loads the scripts, so that a rule counts each call once.
	lease := Lock(t, e.New(c, "warm"))
	if err := lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	Release(t, lease)
	return c, p
}

func hit(t *testing.T, r *faultproxy.Rule) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.WaitHit(ctx); err != nil {
		t.Fatal(err)
	}
}

// push waits until a wake-up is held back.
func push(t *testing.T, p *faultproxy.Proxy) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.WaitPushes(ctx, 1); err != nil {
		t.Fatal(err)
	}
}

// Subscribe makes the client wait once, so that its inbox is open.
func (e *Env) Subscribe(t *testing.T, c *holdfast.Client) {
	t.Helper()
	holder := e.New(e.Client(t), "subscribe")
	lease := Lock(t, holder)
	waiting := Go(t.Context(), e.New(c, "subscribe"))
	e.AwaitWaiters(t, holder, 1)
	Eventually(t, "the subscription", func() bool {
		return len(e.Redis.PubSubChannels(t.Context(), "holdfast:inbox:*").Val()) > 0
	})
	Release(t, lease)
	if r := Get(t, waiting); r.Err != nil {
		t.Fatal(r.Err)
	} else {
		Release(t, r.Lease)
	}
}

// servedAfter wants the waiter to be served by a grant of its own after other's.
func servedAfter(t *testing.T, waiting <-chan Result, other *holdfast.Lease) {
	t.Helper()
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Lease.Token() <= other.Token() {
		t.Error("served by the old grant")
	}
	Release(t, r.Lease)
}

func pending(in <-chan Result) bool { return len(in) == 0 }

// staleWakeUp: a wake-up that comes after the TTL of its grant is over must not
// be believed: somebody else has the lock.
func staleWakeUp(t *testing.T, e *Env) {
	const ttl = 400 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl))
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "stale")
	lease := Lock(t, a)
	polls := p.Add(e.poll(), faultproxy.HoldRequest)
	p.HoldPushes()
	waiting := Go(t.Context(), e.New(b, "stale"))
	e.AwaitWaiters(t, a, 1)
	Release(t, lease) // grants to b, who does not hear of it
	push(t, p)
	other := Lock(t, e.New(e.Client(t), "stale")) // after b's TTL
	p.ReleasePushes()
	Eventually(t, "the polls to be held", func() bool { return polls.Hits() > 0 })
	if !pending(waiting) {
		t.Error("the stale wake-up was believed")
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Errorf("the holder was harmed: %v", err)
	}
	polls.Release()
	polls.Remove()
	Release(t, other)
	servedAfter(t, waiting, other)
}

// oldToken: a first acquire that is sent again enqueues anew after its grant ran
// out; the wake-up of that grant comes later still and must not be believed,
// although the base of belief is fresh.
func oldToken(t *testing.T, e *Env) {
	const ttl = 400 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl))
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "old")
	lease := Lock(t, a)
	lost := p.Add(faultproxy.First(1, e.first()), faultproxy.SwallowReplyThenClose)
	p.HoldPushes()
	waiting := Go(t.Context(), e.New(b, "old"))
	hit(t, lost) // it is in the queue and does not know
	again := p.Add(e.first(), faultproxy.CutBeforeForward)
	Release(t, lease)
	push(t, p)
	other := Lock(t, e.New(e.Client(t), "old")) // the grant ran out
	polls := p.Add(e.poll(), faultproxy.HoldRequest)
	again.Remove()
	e.AwaitWaiters(t, a, 1) // a later copy enqueued
	p.ReleasePushes()
	e.Subscribe(t, b) // a later wake-up came: so did that of the old grant
	if !pending(waiting) {
		t.Error("the old token was believed")
	}
	if err := other.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	polls.Release()
	polls.Remove()
	Release(t, other)
	servedAfter(t, waiting, other)
}

// liveLeaseIsKept: a poll is answered "yours", and then the wake-up of the same
// grant arrives: nothing must be given back.
func liveLeaseIsKept(t *testing.T, e *Env) {
	b, p := e.proxied(t, holdfast.WithTTL(2*time.Second))
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "kept")
	lease := Lock(t, a)
	p.HoldPushes()
	waiting := Go(t.Context(), e.New(b, "kept"))
	e.AwaitWaiters(t, a, 1)
	Release(t, lease)
	r := Get(t, waiting) // by a poll
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	given := p.Add(e.release(), faultproxy.Pass)
	push(t, p)
	p.ReleasePushes()
	e.Subscribe(t, b) // a later wake-up came: so did this one
	if r.Lease.Err() != nil || r.Lease.Renew(t.Context()) != nil {
		t.Errorf("the lease was given back: %v", r.Lease.Err())
	}
	if given.Hits() != 1 { // that of subscribe
		t.Errorf("%d releases were sent", given.Hits())
	}
	Release(t, r.Lease)
}

// lateReply: "yours" that arrives after its own lease is over is no lease.
func lateReply(t *testing.T, e *Env) {
	const ttl = 200 * time.Millisecond
	b, p := e.proxied(t, holdfast.WithTTL(ttl))
	late := p.Add(faultproxy.First(1, e.first()), faultproxy.HoldReply)
	waiting := Go(t.Context(), e.New(b, "late"))
	hit(t, late)
	other := Lock(t, e.New(e.Client(t), "late"))
	late.Release()
	e.AwaitWaiters(t, e.New(e.Client(t), "late"), 1) // it starts over
	if !pending(waiting) {
		t.Error("the late reply was believed")
	}
	Release(t, other)
	servedAfter(t, waiting, other)
	e.NothingLeft(t)
}

// latePoll: a poll is under way while the wake-up arrives and the user releases.
func latePoll(t *testing.T, e *Env) {
	b, p := e.proxied(t, holdfast.WithTTL(2*time.Second))
	e.Subscribe(t, b)
	a := e.New(e.Client(t), "ghost")
	lease := Lock(t, a)
	poll := p.Add(e.poll(), faultproxy.HoldRequest)
	waiting := Go(t.Context(), e.New(b, "ghost"))
	hit(t, poll)
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)
	before := e.Redis.DBSize(t.Context()).Val()
	poll.Release()
	poll.Remove()
	e.Subscribe(t, b) // the poll's connection was used since: it has arrived
	if after := e.Redis.DBSize(t.Context()).Val(); after > before+1 {
		t.Errorf("%d keys, %d before the late poll", after, before)
	}
	e.free(t, "ghost")
}

// free asserts that the lock can be taken at once.
func (e *Env) free(t *testing.T, name string) {
	t.Helper()
	lease, err := e.New(e.Client(t), name).TryLock(t.Context())
	if err != nil {
		t.Errorf("a ghost holds the lock: %v", err)
		return
	}
	Release(t, lease)
}

// lateAcquire: Lock gave up while its first acquire was under way; the leave
// overtakes it.
func lateAcquire(t *testing.T, e *Env) { lateFirst(t, e, holdfast.Locker.Lock) }

func lateTry(t *testing.T, e *Env) { lateFirst(t, e, holdfast.Locker.TryLock) }

func lateFirst(t *testing.T, e *Env, lock func(holdfast.Locker, context.Context) (*holdfast.Lease, error)) {
	t.Helper()
	b, p := e.proxied(t)
	acquire := p.Add(e.first(), faultproxy.HoldRequest)
	leave := p.Add(e.release(), faultproxy.Pass)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before := time.Now()
	_, err := lock(e.New(b, "late"), ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock: %v", err)
	}
	if d := time.Since(before); d > 100*time.Millisecond+time.Second {
		t.Errorf("Lock returned %v after its deadline", d-100*time.Millisecond)
	}
	hit(t, leave)
	acquire.Release()
	acquire.Remove()
	Eventually(t, "the late acquire to arrive", func() bool {
		return e.Redis.Exists(t.Context(), "holdfast:"+e.Name+":late").Val() == 0 && p.Conns() > 0
	})
	e.arrive(t, b)
	e.free(t, "late")
	e.NothingLeft(t)
}

// arrive lets everything that was sent before reach the server: the server reads
// its connections in turn, so many round trips later they were all read.
func (e *Env) arrive(t *testing.T, c *holdfast.Client) {
	t.Helper()
	l := e.New(c, "arrive")
	for range 50 {
		Release(t, Lock(t, l))
	}
}

// lateCopies: each command comes a second time, much later. Nothing changes.
func lateCopies(t *testing.T, e *Env) {
	b, p := e.proxied(t)
	rules := []*faultproxy.Rule{
		p.Add(e.first(), faultproxy.DuplicateLate),
		p.Add(e.poll(), faultproxy.DuplicateLate),
		p.Add(e.renew(), faultproxy.DuplicateLate),
		p.Add(e.release(), faultproxy.DuplicateLate),
	}
	fast := holdfast.WithBackOff(func() holdfast.BackOff { return constant(10 * time.Millisecond) })
	a := e.New(e.Client(t), "copies")
	lease := Lock(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	l := e.New(b, "copies", fast)
	waiting := Go(ctx, l)
	Eventually(t, "a poll", func() bool { return rules[1].Hits() > 0 })
	cancel()
	if r := Get(t, waiting); !errors.Is(r.Err, context.Canceled) {
		t.Fatal(r.Err)
	}
	waiting = Go(t.Context(), l)
	e.AwaitWaiters(t, a, 1)
	Release(t, lease)
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := r.Lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	Release(t, r.Lease)
	lease = Lock(t, a)
	left := e.Redis.PTTL(t.Context(), e.lockKey(t, lease)).Val()
	// Not the first acquires: theirs were answered, so only the driver could send
	// a copy, and it is told not to. One that was not answered is Rule8's test.
	for _, rule := range rules[1:] {
		if err := rule.SendCopies(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("a late copy took the lock away: %v", err)
	}
	if now := e.Redis.PTTL(t.Context(), e.lockKey(t, lease)).Val(); now > left+time.Second {
		t.Errorf("TTL %v, %v before", now, left)
	}
	if n := e.Waiters(t, a); n != 0 {
		t.Errorf("%d places in the queue", n)
	}
	Release(t, lease)
	e.free(t, "copies")
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
