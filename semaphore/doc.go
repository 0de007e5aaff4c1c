// Package semaphore limits concurrency across services: a weighted, counting
// semaphore on Redis.
//
//	downloads := semaphore.New(client, "downloads", 5) // five at once, everywhere
//	err := downloads.Do(ctx, 1, func(ctx context.Context) error {
//		return fetch(ctx, url)
//	})
//
// Requests are served first come, first served, in the order in which they reach
// Redis, over all processes; nobody overtakes, so a request for many permits is
// not starved by requests for one. Permits belong to leases: they are renewed,
// and those of a process that died come back when its TTL is over.
//
// # The limit
//
// The limit is the caller's and is stored nowhere. Each request is judged by its
// own: it is granted when what is held, plus what it asks for, is within it. So a
// deployment that changes the limit needs no migration; while both versions run,
// what is held at once is bounded by the larger of the two limits, and a request
// under the smaller one may hold up the queue until that much is free.
package semaphore
