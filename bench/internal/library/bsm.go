package library

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

func bsmLibrary(poll time.Duration) Library {
	return Library{
		Name:  "bsm-" + poll.String(),
		Title: fmt.Sprintf("bsm/redislock, %d ms", poll.Milliseconds()),
		How: fmt.Sprintf("LinearBackoff(%d ms): it does not wait unless told how, and then polls; "+
			"100 ms is what its examples use, 1 ms the fastest that makes sense", poll.Milliseconds()),
		Open: func(_ context.Context, c Config) (Locker, error) { return openBsm(c, poll), nil },
	}
}

type bsmLocker struct {
	rdb    *redis.Client
	client *redislock.Client
	poll   time.Duration
}

func openBsm(c Config, poll time.Duration) *bsmLocker {
	rdb := newRedis(c.Addr)
	return &bsmLocker{rdb, redislock.New(rdb), poll}
}

func (l *bsmLocker) Lock(name string) Lock {
	return bsmLock{l.client, name, &redislock.Options{RetryStrategy: redislock.LinearBackoff(l.poll)}}
}

func (l *bsmLocker) Close() error { return l.rdb.Close() }

type bsmLock struct {
	client *redislock.Client
	name   string
	opt    *redislock.Options
}

func (l bsmLock) Acquire(ctx context.Context) (Held, error) {
	lock, err := l.client.Obtain(ctx, l.name, TTL, l.opt)
	if err != nil {
		return nil, err
	}
	return lock, nil
}

func bsmRenewedLibrary() Library {
	return Library{
		Name: "bsm-renewed", Title: "bsm/redislock, own watchdog",
		How: "it does not renew: one goroutine a lease calls Refresh, as its README shows",
		Open: func(_ context.Context, c Config) (Locker, error) {
			return bsmRenewed{openBsm(c, 100*time.Millisecond)}, nil
		},
	}
}

type bsmRenewed struct{ *bsmLocker }

func (l bsmRenewed) Lock(name string) Lock { return bsmRenewedLock{l.bsmLocker.Lock(name)} }

type bsmRenewedLock struct{ Lock }

func (l bsmRenewedLock) Acquire(ctx context.Context) (Held, error) {
	held, err := l.Lock.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	h := &bsmRenewedHeld{Held: held, stop: make(chan struct{})}
	// As long as it is held, whatever becomes of the wait.
	go h.renew(context.WithoutCancel(ctx), held.(*redislock.Lock)) //nolint:forcetypeassert,errcheck // bsmLock returns nothing else
	return h, nil
}

type bsmRenewedHeld struct {
	Held
	stop chan struct{}
	lost atomic.Pointer[error]
}

func (h *bsmRenewedHeld) renew(ctx context.Context, lock *redislock.Lock) {
	ticker := time.NewTicker(Renewal)
	defer ticker.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-ticker.C:
			if err := lock.Refresh(ctx, TTL, nil); err != nil {
				h.lost.Store(&err)
				return
			}
		}
	}
}

func (h *bsmRenewedHeld) Release(ctx context.Context) error {
	close(h.stop)
	return h.Held.Release(ctx)
}

func (h *bsmRenewedHeld) Err() error {
	if err := h.lost.Load(); err != nil {
		return *err
	}
	return nil
}
