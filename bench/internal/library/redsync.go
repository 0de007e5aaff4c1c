package library

import (
	"context"
	"errors"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

func redsyncLibrary() Library {
	return Library{
		Name: "redsync", Title: "redsync",
		How:   "on one server; default delays (50 to 250 ms at random); called again when its 32 tries are over",
		Open:  openRedsync,
		Sends: []string{"set"},
	}
}

type redsyncLocker struct {
	rdb *redis.Client
	rs  *redsync.Redsync
}

func openRedsync(_ context.Context, c Config) (Locker, error) {
	rdb := newRedis(c.Addr)
	return &redsyncLocker{rdb, redsync.New(goredis.NewPool(rdb))}, nil
}

func (l *redsyncLocker) Lock(name string) Lock { return redsyncLock{l.rs, name} }
func (l *redsyncLocker) Close() error          { return l.rdb.Close() }

// A redsync.Mutex holds what its last Lock found, so each acquisition has its own.
type redsyncLock struct {
	rs   *redsync.Redsync
	name string
}

func (l redsyncLock) Acquire(ctx context.Context) (Held, error) {
	m := l.rs.NewMutex(l.name, redsync.WithExpiry(TTL))
	for {
		err := m.LockContext(ctx)
		if err == nil {
			return (*redsyncHeld)(m), nil
		}
		var taken *redsync.ErrTaken
		if ctx.Err() != nil || !errors.Is(err, redsync.ErrFailed) && !errors.As(err, &taken) {
			return nil, err
		}
	}
}

type redsyncHeld redsync.Mutex

func (h *redsyncHeld) Release(ctx context.Context) error {
	_, err := (*redsync.Mutex)(h).UnlockContext(ctx)
	return err
}
