package guard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
	"github.com/holdfast-go/holdfast/mutex"
)

// embedded starts a server; stop ends it.
func embedded() (rdb *redis.Client, stop func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: server.Addr()})
	return rdb, func() {
		_ = rdb.Close()
		server.Close()
	}
}

func ExampleFence_Do() {
	ctx := context.Background()
	rdb, stop := embedded()
	defer stop()

	invoice := guard.New(rdb, "fence:{invoice:42}")
	write := func(token int64, state string) error {
		_, err := invoice.Do(ctx, token, guard.Cmd{"SET", guard.Key("{invoice:42}:state"), state})
		return err
	}
	fmt.Println(write(33, "open"))
	fmt.Println(write(34, "paid")) // the next holder
	err := write(33, "cancelled")  // the one before was paused, and does not know
	fmt.Println(errors.Is(err, guard.ErrStale), err)
	fmt.Println(rdb.Get(ctx, "{invoice:42}:state").Val())
	// Output:
	// <nil>
	// <nil>
	// true guard: stale token of fence "fence:{invoice:42}": 33 is below 34
	// paid
}

// Who reads first, marks the resource before it reads.
func ExampleFence_Check() {
	ctx := context.Background()
	rdb, stop := embedded()
	defer stop()
	client, err := holdfast.New(rdb)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close(ctx) }() // holds nothing

	balance := guard.Key("{account:7}:balance")
	account := guard.New(rdb, "fence:{account:7}")
	done := mutex.New(client, "account:7").Do(ctx, func(ctx context.Context) error {
		token, err := guard.Token(ctx)
		if err != nil {
			return err
		}
		if err = account.Check(ctx, token); err != nil {
			return err
		}
		have, err := rdb.Get(ctx, string(balance)).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		replies, err := account.Do(ctx, token,
			guard.Cmd{"SET", balance, have + 10},
			guard.Cmd{"INCR", guard.Key("{account:7}:changes")})
		if err != nil {
			return err
		}
		changes, err := replies[1].Int64()
		fmt.Println("changes:", changes)
		return err
	})
	fmt.Println(done, rdb.Get(ctx, string(balance)).Val())
	// Output:
	// changes: 1
	// <nil> 10
}

func ExampleNewField() {
	ctx := context.Background()
	rdb, stop := embedded()
	defer stop()

	order := guard.NewField(rdb, "order:9", "last_token")
	_, err := order.Do(ctx, 18, guard.Cmd{"HSET", guard.Key("order:9"), "state", "packed"})
	fmt.Println(err, rdb.HGetAll(ctx, "order:9").Val())
	_, err = order.Do(ctx, 17, guard.Cmd{"HSET", guard.Key("order:9"), "state", "new"})
	fmt.Println(err)
	// Output:
	// <nil> map[last_token:18 state:packed]
	// guard: stale token of fence "order:9" field "last_token": 17 is below 18
}

func ExampleLua() {
	ctx := context.Background()
	rdb, stop := embedded()
	defer stop()

	push := redis.NewScript(guard.Lua() + `
local refused = holdfast_guard(KEYS[1], ARGV[1])
if refused then return refused end
if redis.call('LLEN', KEYS[2]) >= 100 then return 0 end
return redis.call('RPUSH', KEYS[2], ARGV[2])`)

	keys := []string{"fence:{jobs}", "{jobs}"}
	n, err := push.Run(ctx, rdb, keys, 18, "resize").Int()
	fmt.Println(n, guard.Refusal(err))
	err = push.Run(ctx, rdb, keys, 17, "resize").Err()
	fmt.Println(errors.Is(guard.Refusal(err), guard.ErrStale))
	// Output:
	// 1 <nil>
	// true
}

func ExampleTable_UpdateSQL() {
	for _, dialect := range []guard.Dialect{guard.Postgres, guard.MySQL} {
		accounts := guard.Table{Dialect: dialect, Name: "accounts"}
		text, err := accounts.UpdateSQL("balance", "state")
		fmt.Println(text, err)
	}
	// Output:
	// UPDATE accounts SET balance = $1, state = $2, last_token = $3 WHERE id = $4 AND last_token <= $5 <nil>
	// UPDATE accounts SET balance = ?, state = ?, last_token = ? WHERE id = ? AND last_token <= ? <nil>
}
