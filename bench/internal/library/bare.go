package library

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/redis/go-redis/v9"
)

func bareLibrary() Library {
	return Library{
		Name: "bare", Title: "bare SET NX, 1 ms",
		How:   "no library, and the floor: SET NX PX, a script that compares and deletes, 1 ms of sleep when it is taken",
		Open:  openBare,
		Sends: []string{"set"},
	}
}

var compareAndDelete = redis.NewScript(
	`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)

type bareLocker struct{ rdb *redis.Client }

func openBare(_ context.Context, c Config) (Locker, error) { return bareLocker{newRedis(c.Addr)}, nil }

func (l bareLocker) Lock(name string) Lock { return &bareLock{rdb: l.rdb, name: name} }
func (l bareLocker) Close() error          { return l.rdb.Close() }

type bareLock struct {
	rdb   *redis.Client
	name  string
	value string
}

func (l *bareLock) Acquire(ctx context.Context) (Held, error) {
	l.value = rand.Text()
	for {
		err := l.rdb.SetArgs(ctx, l.name, l.value, redis.SetArgs{Mode: "NX", TTL: TTL}).Err()
		if err != redis.Nil { //nolint:errorlint // go-redis returns it as it is
			return l, err
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *bareLock) Release(ctx context.Context) error {
	return compareAndDelete.Run(ctx, l.rdb, []string{l.name}, l.value).Err()
}
