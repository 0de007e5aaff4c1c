package inbox

import (
	"context"
	"maps"

	"github.com/redis/go-redis/v9"
)

// others are the channels that are heard beside the inbox's own, on the same
// connection.
type others struct {
	wanted   map[string]struct{}
	refused  bool          // Redis refuses one of them: the inbox goes on without any
	changed  chan struct{} // wakes the goroutine that subscribes
	finished chan struct{} // closed when that goroutine ended; nil: there is none
}

// Listen hears another channel as well, from some time soon on: Config.Other is
// called once its subscription has come, and for each message. It never blocks.
// Call Start before it.
func (b *Inbox) Listen(channel string) { b.want(channel, true) }

// Unlisten ends what Listen began. It never blocks.
func (b *Inbox) Unlisten(channel string) { b.want(channel, false) }

func (b *Inbox) want(channel string, on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := &b.others
	if b.closed || !b.started || o.refused {
		return
	}
	if on {
		o.wanted[channel] = struct{}{}
	} else {
		delete(o.wanted, channel)
	}
	if o.finished == nil {
		o.finished = make(chan struct{})
		go b.adjust(o.finished)
	}
	b.touch()
}

// touch lets adjust look again. With b.mu.
func (b *Inbox) touch() {
	select {
	case b.others.changed <- struct{}{}:
	default:
	}
}

// adjust brings the subscription to what is wanted. It is a goroutine of its own
// because go-redis may connect for it, and neither a caller of Listen nor the
// goroutine that receives may wait for that.
func (b *Inbox) adjust(finished chan struct{}) {
	defer close(finished)
	ctx := context.Background() //nolint:forbidigo // the inbox's own life
	var on *redis.PubSub
	have := map[string]struct{}{}
	for {
		select {
		case <-b.others.changed:
		case <-b.stop:
			return
		}
		b.mu.Lock()
		if b.pubsub != on { // a new one has nothing yet
			on = b.pubsub
			clear(have)
		}
		wanted := maps.Clone(b.others.wanted)
		b.mu.Unlock()
		if on == nil {
			continue
		}
		var add, remove []string
		for channel := range wanted {
			if _, ok := have[channel]; !ok {
				add = append(add, channel)
			}
		}
		for channel := range have {
			if _, ok := wanted[channel]; !ok {
				remove = append(remove, channel)
			}
		}
		have = wanted
		// go-redis keeps the channels also when it cannot send, and subscribes to
		// them when it has connected again.
		if len(add) > 0 {
			_ = on.Subscribe(ctx, add...)
		}
		if len(remove) > 0 {
			_ = on.Unsubscribe(ctx, remove...)
		}
	}
}

// giveUpOthers is called when Redis refuses a subscription: where there are
// others, the refusal may be theirs, and must not cost the inbox's own.
func (b *Inbox) giveUpOthers() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.others.wanted) > 0 {
		b.others.refused = true
		clear(b.others.wanted)
	}
}
