// Package torture lets processes lock at random while everything that can fail
// does: processes are killed and stopped, Redis is restarted with and without its
// data, stopped, flushed, paused, out of memory, or has something else under a
// lock's key, connections are closed, cut, silent and slow. It is a module of its
// own because of what checks it.
//
// A run is made of rounds. Each has a server and four processes of its own, two of
// them behind proxies, and faults of one kind or of all kinds mixed. While they
// last, all that the processes do is recorded; then they end, and so does all
// that is under way. A round fails if
//
//   - two believed to hold what only one may, or tokens were not in order: package
//     history, which knows what a loss of data excuses;
//   - somebody who was asked for later than another was seen in the queue was
//     granted first, though no fault was at work;
//   - what the calls of a mutex returned cannot be put in any order that a mutex
//     allows, where a call that was not answered may have been done at any time
//     after it began, or never;
//   - Lock returned an error other than its context's, or that the key has another
//     type;
//   - once the faults are over, a wait does not end, a client cannot be closed or
//     leaves a goroutine behind;
//   - Redis keeps a key without an end, or anything but tokens and tombstones.
//
// A failing history is kept in failures/, and drawn if it is one of a mutex.
//
// A seed repeats the choices of a run: which faults come when, and what is asked
// for. What happens between is also the scheduler's, so a failure may not come
// again at once.
package torture
