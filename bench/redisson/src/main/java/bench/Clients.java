package bench;

import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.redisson.Redisson;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

/**
 * The clients of a job: each has connections and an identity of its own, as in a
 * process of its own. They share the threads, of which each would have 48 otherwise.
 */
final class Clients implements AutoCloseable {
    private static final EventLoopGroup LOOPS =
            new MultiThreadIoEventLoopGroup(32, daemon(), NioIoHandler.newFactory());
    private static final ExecutorService EXECUTOR = Executors.newFixedThreadPool(16, daemon());
    private static final int POOL = 20;

    final List<RedissonClient> all = new ArrayList<>();

    Clients(Job job) {
        for (long i = 0; i < job.number("Processes"); i++) {
            Config config = new Config();
            config.setEventLoopGroup(LOOPS);
            config.setExecutor(EXECUTOR);
            config.useSingleServer()
                    .setAddress("redis://" + job.text("Addr"))
                    .setConnectionPoolSize(POOL)
                    .setConnectionMinimumIdleSize(1);
            all.add(Redisson.create(config));
        }
    }

    RedissonClient get(long number) {
        return all.get((int) (number % all.size()));
    }

    @Override
    public void close() {
        all.forEach(RedissonClient::shutdown);
    }

    private static java.util.concurrent.ThreadFactory daemon() {
        return task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        };
    }
}
