package library

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/rwlock"
	"github.com/holdfast-go/holdfast/semaphore"
)

func holdfastLibrary() Library {
	return Library{
		Name: "holdfast", Title: "Holdfast",
		How:  "as it comes",
		Open: openHoldfast,
	}
}

type holdfastLocker struct {
	rdb    *redis.Client
	client *holdfast.Client
}

func openHoldfast(_ context.Context, c Config) (Locker, error) {
	rdb := newRedis(c.Addr)
	client, err := holdfast.New(rdb, holdfast.WithTTL(TTL))
	return &holdfastLocker{rdb, client}, err
}

func (l *holdfastLocker) Lock(name string) Lock {
	return holdfastLock(mutex.New(l.client, name).Lock)
}

func (l *holdfastLocker) Reader(name string) Lock {
	return holdfastLock(rwlock.New(l.client, name).RLock)
}

func (l *holdfastLocker) Writer(name string) Lock {
	return holdfastLock(rwlock.New(l.client, name).Lock)
}

func (l *holdfastLocker) Permit(name string, limit int64) Lock {
	s := semaphore.New(l.client, name, limit)
	return holdfastLock(func(ctx context.Context) (*holdfast.Lease, error) { return s.Acquire(ctx, 1) })
}

func (l *holdfastLocker) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(l.client.Close(ctx), l.rdb.Close())
}

type holdfastLock func(context.Context) (*holdfast.Lease, error)

func (acquire holdfastLock) Acquire(ctx context.Context) (Held, error) {
	lease, err := acquire(ctx)
	if err != nil {
		return nil, err
	}
	return lease, nil
}
