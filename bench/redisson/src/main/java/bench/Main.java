package bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * The worker that runs Redisson's locks: see internal/worker. It differs in that it
 * is all processes of a job at once, one client each, and that it does one job after
 * the other, so that its code is compiled when it counts.
 */
public final class Main {
    private static final long GRACE_NANOS = 1_000_000_000L;

    private Main() { }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            run(Job.parse(line), in);
            say("ready"); // to be told that it is over
        }
        System.exit(0); // whatever a library leaves asleep
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void run(Job job, BufferedReader in) throws IOException, InterruptedException {
        try (Clients clients = new Clients(job)) {
            Hold.prepare(job, clients.get(0), job.key(0));
            Leases leases = null;
            if (job.text("Work").equals("leases")) {
                leases = new Leases(job, clients.get(0));
            } else if (job.text("Work").equals("idle")) {
                holdForGood(job, clients);
            }
            say("ready");
            for (String line = in.readLine(); line != null && !line.contains("done"); line = in.readLine()) {
                Job window = Job.parse(line);
                say(measure(job, clients, leases, window.number("Begin"), window.number("End")).json());
            }
            if (leases != null) {
                leases.end();
            }
        }
    }

    /** Contender 0 holds what the others wait for; the watchdog renews it. */
    private static void holdForGood(Job job, Clients clients) throws InterruptedException {
        Hold.reader(job, clients.get(0), job.key(0)).acquire();
    }

    private static Result measure(Job job, Clients clients, Leases leases, long begin, long end)
            throws InterruptedException {
        CompletableFuture<Long> cpu = CompletableFuture.supplyAsync(() -> cpuBetween(begin, end));
        Result result = new Result();
        if (leases != null) {
            Clock.sleepUntil(end);
            leases.report(result);
        } else {
            contend(job, clients, begin, end, result);
        }
        result.cpu = cpu.join();
        result.threads = ManagementFactory.getThreadMXBean().getThreadCount();
        return result;
    }

    private static void contend(Job job, Clients clients, long begin, long end, Result result)
            throws InterruptedException {
        List<Contender> contenders = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (long i = job.text("Work").equals("idle") ? 1 : 0; i < job.number("Contenders"); i++) {
            Contender contender = new Contender(job, clients, i, begin, end);
            Thread thread = new Thread(contender);
            thread.setDaemon(true);
            contenders.add(contender);
            threads.add(thread);
        }
        threads.forEach(Thread::start);
        Clock.sleepUntil(end);
        threads.forEach(Thread::interrupt); // those that wait
        for (Thread thread : threads) {
            thread.join(Math.max(1, (end + GRACE_NANOS - Clock.now()) / 1_000_000));
        }
        contenders.forEach(c -> c.addTo(result));
    }

    private static long cpuBetween(long begin, long end) {
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Clock.sleepUntil(begin);
        long before = system.getProcessCpuTime();
        Clock.sleepUntil(end);
        return system.getProcessCpuTime() - before;
    }
}
