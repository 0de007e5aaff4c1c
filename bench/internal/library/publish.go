package library

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
)

func publishLibrary() Library {
	return Library{
		Name: "publish", Title: "PUBLISH → receive",
		How:   "no lock, and the floor of a hand-over: a message goes round the processes, and who receives it publishes the next",
		Open:  openPublish,
		Sends: []string{"publish"},
	}
}

// publishRing hands one token round the processes in turn. Who acquires takes what
// arrives, who releases sends it on. It excludes as long as no message is lost.
type publishRing struct {
	rdb      *redis.Client
	sub      *redis.PubSub
	own      string
	next     string
	first    bool
	begun    sync.Once
	received chan struct{}
	ended    chan struct{}
}

func openPublish(ctx context.Context, c Config) (Locker, error) {
	r := &publishRing{
		rdb: newRedis(c.Addr), first: c.Process == 0,
		own: ringChannel(c.Process), next: ringChannel((c.Process + 1) % max(c.Processes, 1)),
		received: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	r.sub = r.rdb.Subscribe(ctx, r.own)
	if _, err := r.sub.Receive(ctx); err != nil { // confirmed: nothing is missed from here on
		return nil, errors.Join(err, r.sub.Close(), r.rdb.Close())
	}
	go r.receive(context.WithoutCancel(ctx)) // until it is closed
	return r, nil
}

func ringChannel(process int) string { return "ring:" + strconv.Itoa(process) }

func (r *publishRing) receive(ctx context.Context) {
	defer close(r.ended)
	for {
		if _, err := r.sub.ReceiveMessage(ctx); err != nil {
			return // closed
		}
		r.received <- struct{}{} // there is one token, so there is room
	}
}

func (r *publishRing) Lock(string) Lock { return r }

func (r *publishRing) Acquire(ctx context.Context) (Held, error) {
	if r.first {
		r.begun.Do(func() { r.received <- struct{}{} })
	}
	select {
	case <-r.received:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *publishRing) Release(ctx context.Context) error {
	return r.rdb.Publish(ctx, r.next, "").Err()
}

func (r *publishRing) Close() error {
	err := r.sub.Close()
	<-r.ended
	return errors.Join(err, r.rdb.Close())
}
