// Package rwlock is a read-write lock on Redis: many readers or one writer.
//
//	config := rwlock.New(client, "config")
//	err := config.RDo(ctx, func(ctx context.Context) error { return load(ctx) })
//	...
//	err = config.Do(ctx, func(ctx context.Context) error { return store(ctx) })
//
// Requests are served first come, first served, in the order in which they reach
// Redis, over all processes. Readers that follow each other are granted together,
// by one release; a writer that waits is served before the readers that came
// after it, and they before the next writer: nobody starves. Each reader has a
// lease of its own: one that died is out when its own TTL is over, however many
// others come and go.
//
// # Up and down
//
// [RWLock.Downgrade] makes a reader of a writer with no gap between. The other
// way is not offered: two readers that both wanted to become writers would wait
// for each other. A reader that calls Lock waits like anybody else for all
// readers, itself among them: it never gets the lock until it has released its
// own lease. In the same way a reader that asks for another read lease while a
// writer waits stands behind that writer, who waits for it.
package rwlock
