package holdfast

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/courier"
)

// EventType says what an [Event] is about.
type EventType string

// The types of events. A lease has one "acquired", any number of "renewed", and
// one "lost" or "released"; a call that asked for a lock, or for a downgrade, and
// came to nothing has one "not acquired". A call that was refused before anything
// was asked, with [ErrInvalid], [ErrClosed] or a context that had ended, has none.
const (
	EventAcquired    EventType = "acquired"
	EventNotAcquired EventType = "not acquired"
	EventRenewed     EventType = "renewed"
	EventLost        EventType = "lost"
	EventReleased    EventType = "released"
)

// Event is something that became of a lock.
type Event struct {
	Type EventType
	Time time.Time // when it happened, for this process: a lease ends when Release is called
	Kind string    // of the lock: "mutex", "reentrant", "rwlock", "semaphore", "redlock"
	Name string    // of the lock

	// Weight is what the hold takes, or would have: the permits of a semaphore;
	// All for the writer of an rwlock, 1 for a reader; else 1.
	Weight int64
	ID     string // of the lease; "" if there is none
	Token  int64  // of the lease; 0 if there is none

	Wait       time.Duration // acquired, not acquired: since the call
	HandedOver bool          // acquired: it waited, and whoever went before made it the holder
	Held       time.Duration // renewed, lost, released: since it was acquired

	// Err is why nothing was acquired; the [LostError] of a lost lease; of a
	// released one nil, or why Redis did not confirm it.
	Err error

	// Dropped is how many events before this one were not delivered, since the
	// Observer was busy for too long.
	Dropped int
}

// Observer is told what becomes of the locks of a client: for metrics, traces,
// audits. See WithObserver.
type Observer interface {
	// Observe is called for each event of a client, one after the other; of
	// several clients that have the same Observer, at the same time. ctx has the values of the context that
	// the lock was asked for with, a trace for example, and never ends.
	Observe(ctx context.Context, e Event)
}

// ObserverFunc is a function that is an Observer.
type ObserverFunc func(ctx context.Context, e Event)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

// Room of what waits for the user's code.
const (
	roomForEvents  = 4096
	roomForRecords = 256
)

// observation is an event on its way to an observer.
type observation struct {
	ctx   context.Context //nolint:containedctx // what it carries belongs to the event
	event Event
}

// observers starts what tells each observer. Each has a courier of its own, so
// that one that blocks does not hold up the others.
func (c *Client) observers(s settings) []*courier.Courier[observation] {
	all := s.observers
	if s.log.Enabled(c.ended, slog.LevelDebug) {
		all = append([]Observer{eventLog{s.log}}, all...)
	}
	couriers := make([]*courier.Courier[observation], 0, len(all))
	for _, o := range all {
		couriers = append(couriers, courier.New(roomForEvents,
			func(x observation, dropped int) {
				x.event.Dropped = dropped
				o.Observe(x.ctx, x.event)
			},
			func(reason any) { c.warn("an Observer panicked", "panic", reason) },
		))
	}
	return couriers
}

// inquiry is a call that asked for a lock, for those who observe; nil if nobody
// does.
type inquiry struct {
	ctx context.Context //nolint:containedctx // what it carries belongs to the events
	at  time.Time
}

func (c *Client) inquiry(ctx context.Context) *inquiry {
	if len(c.events) == 0 {
		return nil
	}
	return &inquiry{ctx: context.WithoutCancel(ctx), at: time.Now()}
}

// tell sends an event of the lock to all observers. It never blocks.
func (k *Core) tell(i *inquiry, e Event) {
	e.Kind, e.Name, e.Weight = k.kind.Name, k.name, k.weight
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	for _, courier := range k.client.events {
		courier.Send(observation{i.ctx, e})
	}
}

// refused tells that a call came to nothing.
func (k *Core) refused(i *inquiry, err error) {
	if i != nil {
		k.tell(i, Event{Type: EventNotAcquired, Wait: time.Since(i.at), Err: err})
	}
}

// tell sends an event of the lease to all observers. With the hold's mu, so that
// the events of a lease are in order.
func (t *tenure) tell(e Event) {
	if t.inquiry == nil {
		return
	}
	e.ID, e.Token = t.id(), t.token()
	t.hold.core.tell(t.inquiry, e)
}

// tellAcquired tells that there is a lease. With the hold's mu.
func (t *tenure) tellAcquired() {
	t.told = true
	if t.inquiry != nil {
		t.tell(Event{Type: EventAcquired, Wait: time.Since(t.inquiry.at), HandedOver: t.handed})
	}
}

// tellEnd tells, and a loss also logs, how the lease ended. With the hold's mu.
func (t *tenure) tellEnd(err error) {
	if !t.told {
		return // nobody has a lease of it, or not yet: see newLease; or it was told
	}
	t.told = false
	h := t.hold
	e := Event{Type: EventReleased, Time: t.ended, Held: t.ended.Sub(t.acquired)}
	if !errors.Is(err, ErrReleased) {
		e.Err = err
	}
	var lost *LostError
	if errors.As(err, &lost) {
		e.Type = EventLost
		h.client.warn("lease lost", keyKind, h.core.kind.Name, keyName, h.core.name, keyWeight, h.core.weight, keyID, t.id(),
			keyToken, t.token(), keyHeld, e.Held, keyReason, string(lost.Reason), keyError, err)
	}
	t.tell(e)
}
