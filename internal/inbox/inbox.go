// Package inbox receives a client's wake-ups: one channel, one connection, one
// goroutine, however many locks are waited for. Where Redisson's locks are waited
// for, too, their channels are heard on the same connection.
//
// Messages are hints. The inbox promises only that Subscribed is called each
// time the subscription has come (back), so that whoever waits can look at what
// a lost message would have told.
package inbox

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// How the subscription is kept.
const (
	// silence is how long nothing may come before the connection is tried with
	// a PING; after a second silence it is given up. A connection that is half
	// open says nothing by itself.
	silence = 15 * time.Second
	// firstPause and lastPause bound the wait between attempts to subscribe.
	firstPause = 10 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Subscriber makes subscriptions: every go-redis client does.
type Subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// Config says what to listen to. The functions run on the inbox's goroutine and
// must not block.
type Config struct {
	Channel    string
	Message    func(payload string)
	Subscribed func()
	Refused    func(error)          // Redis refuses to let this user subscribe; called once in a row
	Other      func(channel string) // a message on a channel of Listen, or its subscription; nil: there are none
}

// Inbox is a subscription that heals itself. Safe for concurrent use.
type Inbox struct {
	config Config
	rdb    Subscriber
	live   atomic.Bool
	done   chan struct{} // closed when the goroutine ended
	stop   chan struct{}

	mu      sync.Mutex
	started bool
	closed  bool
	pubsub  *redis.PubSub // the one in use, for Close to break
	broken  chan struct{} // closed when Close has broken it; nil: there was none
	others  others
}

// New makes an Inbox that does nothing yet.
func New(rdb Subscriber, config Config) *Inbox {
	return &Inbox{
		config: config,
		rdb:    rdb,
		done:   make(chan struct{}),
		stop:   make(chan struct{}),
		others: others{wanted: map[string]struct{}{}, changed: make(chan struct{}, 1)},
	}
}

// Start subscribes in the background; after the first call it does nothing. A
// client that neither waits nor holds anything for long has no subscription.
func (b *Inbox) Start() {
	if b.live.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started || b.closed {
		return
	}
	b.started = true
	go b.run()
}

// Started tells whether Start was called.
func (b *Inbox) Started() bool {
	if b.live.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.started
}

// Live tells whether messages arrive, as far as is known.
func (b *Inbox) Live() bool { return b.live.Load() }

// Close ends the subscription and waits for the goroutine until ctx ends; the
// rest then ends within the timeouts of the go-redis client.
func (b *Inbox) Close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
		if !b.started {
			close(b.done)
		} else if p := b.pubsub; p != nil {
			// PubSub.Close can wait for the lock of a reconnect that hangs.
			broken := make(chan struct{})
			b.broken = broken
			go func() {
				defer close(broken)
				_ = p.Close() // what it says changes nothing here
			}()
		}
	}
	b.mu.Unlock()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Inbox) run() {
	defer close(b.done)
	pause, refused := firstPause, false
	for {
		err := b.listen(func() { pause, refused = firstPause, false })
		b.live.Store(false)
		if isRefusal(err) {
			b.giveUpOthers()
		}
		if isRefusal(err) && !refused {
			refused = true
			b.config.Refused(err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-b.stop:
			wait.Stop()
			b.mu.Lock()
			ends := []chan struct{}{b.broken, b.others.finished} // set together with stop, or before
			b.mu.Unlock()
			for _, end := range ends {
				if end != nil {
					<-end
				}
			}
			return
		case <-wait.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// listen subscribes and hands messages on until the subscription breaks for
// good. go-redis reconnects and subscribes again by itself where it can.
func (b *Inbox) listen(subscribed func()) error {
	// Ended by Close of the PubSub: the read itself heeds no cancellation.
	ctx := context.Background() //nolint:forbidigo // the inbox's own life
	p, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // closed twice, or broken anyway
	asked := false
	for {
		msg, err := p.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			asked = true
			if err = p.Ping(ctx); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		switch m := msg.(type) {
		case *redis.Subscription:
			switch {
			case m.Channel == b.config.Channel:
				subscribed()
				b.live.Store(true)
				b.config.Subscribed()
			case m.Kind == "subscribe":
				b.config.Other(m.Channel)
			}
		case *redis.Message:
			if m.Channel == b.config.Channel {
				b.config.Message(m.Payload)
			} else {
				b.config.Other(m.Channel)
			}
		}
	}
}

func (b *Inbox) open(ctx context.Context) (*redis.PubSub, error) {
	p := b.rdb.Subscribe(ctx, b.config.Channel)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		_ = p.Close() // nobody reads it
		return nil, redis.ErrClosed
	}
	b.pubsub = p
	b.touch()
	return p, nil
}

// isRefusal tells Redis's own no from a broken connection.
func isRefusal(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
