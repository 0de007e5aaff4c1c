package bench;

import java.util.Random;
import java.util.concurrent.locks.LockSupport;

/** Acquires, holds and releases until the window ends: see internal/worker/contend.go. */
final class Contender implements Runnable {
    private final Job job;
    private final Hold read;
    private final Hold write;
    private final Random random;
    private final long begin;
    private final long end;
    private final Result result = new Result();
    private long counted;
    private long since;

    Contender(Job job, Clients clients, long number, long begin, long end) {
        this.job = job;
        this.begin = begin;
        this.end = end;
        random = new Random(number);
        String key = job.key(number % Math.max(job.number("Keys"), 1));
        read = Hold.reader(job, clients.get(number), key);
        write = Hold.writer(job, clients.get(number), key);
    }

    @Override
    public void run() {
        while (Clock.now() < end) {
            try {
                cycle();
            } catch (InterruptedException e) {
                return;
            } catch (RuntimeException e) {
                if (Clock.now() >= end) {
                    return;
                }
                failed(e);
                LockSupport.parkNanos(1_000_000);
            }
        }
    }

    private void cycle() throws InterruptedException {
        boolean writes = write != null && random.nextInt(100) < job.number("Writes");
        Hold lock = writes ? write : read;
        long began = Clock.now();
        setWait(began);
        lock.acquire();
        long acquired = Clock.now();
        setWait(0);
        if (job.number("Hold") > 0) {
            LockSupport.parkNanos(job.number("Hold"));
        }
        long releasing = Clock.now();
        lock.release();
        count(writes, began, acquired, releasing, Clock.now());
        if (job.number("Pause") > 0) {
            LockSupport.parkNanos(job.number("Pause"));
        }
    }

    private synchronized void setWait(long from) {
        since = from;
    }

    private synchronized void count(boolean writes, long began, long acquired, long releasing, long ended) {
        if (ended < begin || ended >= end) {
            return;
        }
        counted++;
        long took = (job.is("Whole") ? ended : acquired) - began;
        if (writes) {
            result.writes++;
            result.writeTimes.add(took);
        } else {
            result.times.add(took);
        }
        if (job.is("Trace")) {
            result.acquired.add(acquired);
            result.released.add(releasing);
        }
    }

    private synchronized void failed(RuntimeException e) {
        since = 0;
        if (result.failures++ == 0) {
            result.failure = e.toString();
        }
    }

    synchronized void addTo(Result total) {
        total.counts.add(counted);
        total.add(result);
        if (since != 0 && since < end) {
            total.pending.add(end - since);
        }
    }
}
