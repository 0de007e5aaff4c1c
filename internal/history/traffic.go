//go:build linux

package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/processtest"
)

// Traffic is what each process of a history does: goroutines that acquire, hold
// and release at random until they are told to halt.
type Traffic struct {
	Goroutines int
	Requests   []Request     // one of them each time, by chance
	Hold       time.Duration // at most, as a rule
	Long       time.Duration // of one hold in LongOne
	LongOne    int           // 0: of none
	Pause      time.Duration // at most, before each
	CancelOne  int           // one wait in so many ends early, by deadline or cancellation; 0: none
	LightenOne int           // one heavy hold in so many is downgraded; 0: none
	RenewOne   int           // one hold in so many is renewed by its holder; 0: none
	AbandonOne int           // one hold in so many is dropped without a release; 0: none
	Wait       time.Duration // the longest that a wait which ends early lasts; 0: maxWait
	Seed       uint64

	// Rough: Redis fails, too. What it says is counted, and only what a lock must
	// not do even then is reported.
	Rough bool
}

// Request is one thing to acquire.
type Request struct {
	Argument      string // of the package under test; "try ..." may be refused
	Lock          string // which, where there are several
	Weight, Limit int64
	Owner         string        // "": each acquisition has its own
	Turns         bool          // see Op
	TTL           time.Duration // of the lease; 0: it does not matter
}

// maxWait is the longest that a wait which ends early may last by default.
const maxWait = 6 * time.Millisecond

// The events of a child: a hold began, is over; what should not have happened;
// no goroutine is at work any more.
const (
	eventHeld    = "held"
	eventOver    = "over"
	eventTrouble = "trouble"
	eventQuiet   = "quiet"
)

// ending is the Data of an eventOver.
type ending struct {
	Number       int
	At, Deadline time.Duration
	Why          string
}

// Counts is the Data of an eventQuiet.
type Counts struct {
	Acquired, Refused, Cancelled, Lost, Lightened int64

	Renewed, Abandoned int64
	Failed             int64 // Redis refused, or nobody knows
}

// Add adds those of another process.
func (c *Counts) Add(d Counts) {
	c.Acquired += d.Acquired
	c.Refused += d.Refused
	c.Cancelled += d.Cancelled
	c.Lost += d.Lost
	c.Lightened += d.Lightened
	c.Renewed += d.Renewed
	c.Abandoned += d.Abandoned
	c.Failed += d.Failed
}

// Orders are what a child must obey to take part in a history: "traffic", "halt"
// and, to find out why it does not end then, "stacks".
func Orders() map[string]processtest.Order {
	var p player
	p.halted = make(chan struct{})
	return map[string]processtest.Order{
		"traffic": p.play,
		"halt":    func(context.Context, *processtest.Worker, string) { close(p.halted) },
		"stacks":  stacks,
	}
}

func stacks(_ context.Context, w *processtest.Worker, _ string) {
	text := make([]byte, 32<<10) // a report is one line, which has at most 64 KB
	text = text[:runtime.Stack(text, true)]
	w.Say(processtest.Report{Event: eventTrouble, Error: string(text)})
}

// player is the traffic of one process.
type player struct {
	*processtest.Worker
	Traffic

	halted chan struct{}
	number atomic.Int64

	mu     sync.Mutex
	counts Counts
}

func (p *player) play(ctx context.Context, w *processtest.Worker, argument string) {
	p.Worker = w
	if err := json.Unmarshal([]byte(argument), &p.Traffic); err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for i := range p.Goroutines {
		random := rand.New(rand.NewPCG(p.Seed, uint64(i))) //nolint:gosec // a seed repeats it
		all.Go(func() {
			for !p.over() && ctx.Err() == nil {
				p.turn(ctx, random)
			}
		})
	}
	all.Wait()
	w.Say(processtest.Report{Event: eventQuiet}.Carrying(p.counts))
}

func (p *player) over() bool {
	select {
	case <-p.halted:
		return true
	default:
		return false
	}
}

func (p *player) count(c Counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Add(c)
}

func (p *player) trouble(format string, args ...any) {
	p.Say(processtest.Report{Event: eventTrouble, Error: fmt.Sprintf(format, args...)})
}

// oneIn is true once in n times; never if n is 0.
func oneIn(random *rand.Rand, n int) bool { return n > 0 && random.IntN(n) == 0 }

// upTo is a time from 0 to d.
func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(d) + 1))
}

// turn acquires, holds and releases once.
func (p *player) turn(ctx context.Context, random *rand.Rand) {
	pause := time.NewTimer(upTo(random, p.Pause))
	<-pause.C
	q := p.Requests[random.IntN(len(p.Requests))]
	early := oneIn(random, p.CancelOne)
	if early {
		var stop func()
		ctx, stop = endsEarly(ctx, random, cmp.Or(p.Wait, maxWait))
		defer stop()
	}
	asked := processtest.Monotonic()
	lease, err := p.Acquire(ctx, q.Argument)
	from := processtest.Monotonic()
	if err != nil {
		p.refused(q, early, err)
		return
	}
	p.count(Counts{Acquired: 1})
	ctx = context.WithoutCancel(ctx)
	o := Op{
		Lock: q.Lock, Owner: q.Owner, Shared: q.Owner != "", Turns: q.Turns, ID: lease.ID(), What: q.Argument,
		Weight: q.Weight, Limit: q.Limit, Token: lease.Token(), TTL: q.TTL, Asked: asked, From: from,
	}
	p.began(&o, lease)
	p.hold(ctx, random, lease)
	if oneIn(random, p.RenewOne) {
		p.renew(ctx, o, lease)
		p.hold(ctx, random, lease)
	}
	if q.Weight == holdfast.All && p.Downgrade != nil && oneIn(random, p.LightenOne) {
		p.ended(o, lease, "downgraded")
		if lease = p.lighten(ctx, lease); lease == nil {
			return
		}
		o.Weight, o.What, o.TTL, o.Asked, o.From = 1, "downgraded", 0, 0, processtest.Monotonic()
		p.began(&o, lease)
		p.hold(ctx, random, lease)
	}
	if oneIn(random, p.AbandonOne) {
		p.ended(o, lease, "abandoned")
		p.count(Counts{Abandoned: 1})
		runtime.GC() // nothing refers to the lease any more: it is released now
		return
	}
	p.ended(o, lease, "released")
	if err := lease.Release(ctx); err != nil && !errors.Is(err, holdfast.ErrLost) {
		p.failed("release of %v: %v", o, err)
	}
}

// endsEarly is a context that soon ends, in one of the two ways there are.
func endsEarly(ctx context.Context, random *rand.Rand, most time.Duration) (ending context.Context, stop func()) {
	d := upTo(random, most)
	if oneIn(random, 2) {
		return context.WithTimeout(ctx, d)
	}
	ending, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(d, cancel)
	return ending, func() {
		timer.Stop()
		cancel()
	}
}

// refused tells the refusals that a history has by design from those that it
// must not have.
func (p *player) refused(q Request, early bool, err error) {
	var held *holdfast.HeldError
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	switch {
	case early && ended:
		p.count(Counts{Cancelled: 1})
	case p.Rough && strings.Contains(err.Error(), "WRONGTYPE"): // the one refusal that is for good
		p.count(Counts{Failed: 1})
	case !q.tries():
		p.trouble("acquire %q: %v", q.Argument, err)
	case errors.As(err, &held):
		p.count(Counts{Refused: 1})
	case strings.Contains(err.Error(), "came after the lease"): // of a process that was stopped
		p.count(Counts{Lost: 1})
	default:
		p.failed("try %q: %v", q.Argument, err)
	}
}

// failed takes in an error that only a failure of Redis explains.
func (p *player) failed(format string, args ...any) {
	if p.Rough {
		p.count(Counts{Failed: 1})
		return
	}
	p.trouble(format, args...)
}

func (p *player) renew(ctx context.Context, o Op, lease *holdfast.Lease) {
	err := lease.Renew(ctx)
	switch {
	case err == nil:
		p.count(Counts{Renewed: 1})
	case !errors.Is(err, holdfast.ErrLost):
		p.failed("renewal of %v: %v", o, err)
	}
}

func (q Request) tries() bool { return strings.HasPrefix(q.Argument, "try") }

// began reports a hold, and gives it its number.
func (p *player) began(o *Op, lease *holdfast.Lease) {
	o.Number = int(p.number.Add(1))
	o.Deadline = processtest.At(lease.Deadline())
	if o.Owner == "" {
		o.Owner = fmt.Sprintf("%d#%d", p.Seed, o.Number)
	}
	p.Say(processtest.Report{Event: eventHeld}.Carrying(*o))
}

// ended reports that the hold is over, before anything is done about it: if the
// process is killed in between it was held until then.
func (p *player) ended(o Op, lease *holdfast.Lease, why string) {
	at := processtest.Monotonic()
	var lost *holdfast.LostError
	if err := lease.Err(); errors.As(err, &lost) {
		why = "lost: " + string(lost.Reason)
		p.count(Counts{Lost: 1})
		// Nobody takes leases away here, so nobody but the clock may end one.
		if !p.Rough && lost.Reason != holdfast.LostExpired && lost.Reason != holdfast.LostUnreachable {
			p.trouble("%v: %v", o, err)
		}
	}
	e := ending{Number: o.Number, At: at, Deadline: processtest.At(lease.Deadline()), Why: why}
	p.Say(processtest.Report{Event: eventOver}.Carrying(e))
}

// lighten downgrades; nil if the lease was lost.
func (p *player) lighten(ctx context.Context, heavy *holdfast.Lease) *holdfast.Lease {
	light, err := p.Downgrade(ctx, heavy)
	switch {
	case err == nil:
		p.count(Counts{Lightened: 1})
		return light
	case !errors.Is(err, holdfast.ErrLost):
		p.failed("downgrade: %v", err)
	}
	return nil
}

func (p *player) hold(ctx context.Context, random *rand.Rand, lease *holdfast.Lease) {
	var d time.Duration // of every other one: what is over at once meets most
	switch {
	case oneIn(random, p.LongOne):
		d = p.Long
	case oneIn(random, 2):
		d = upTo(random, p.Hold)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-lease.Done():
	case <-ctx.Done():
	}
}
