/* linkem: carries Ethernet frames between two interfaces, with delay, jitter and loss. For kernels without sch_netem.
 *
 *     linkem IF_A IF_B [-l loss%] [-d delay_ms] [-j jitter_ms] [-S seed] [-1] [-t seconds]
 *
 * The delay is even between delay - jitter and delay + jitter, so that packets overtake each other. -1: only from A to
 * B; what goes the other way passes at once. ARP and ICMPv6 are never touched. Ends after -t seconds or at SIGTERM, and
 * then says what it carried. Checksums left to the hardware are carried along (PACKET_VNET_HDR).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What may be under way at once; more is lost and counted. */
#define QUEUE 10000
#define BUFFER (8 << 20)

struct frame {
    uint64_t due, number;
    int out, length;
    unsigned char *bytes;
};

static struct frame heap[QUEUE];
static int under_way;
static uint64_t numbers, taken[2], lost[2], refused[2];
static uint64_t state = 88172645463325252ull;
static volatile sig_atomic_t ended;

static void end(int signal) {
    (void)signal;
    ended = 1;
}

static double chance(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) * (1.0 / 9007199254740992.0);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int before(const struct frame *a, const struct frame *b) {
    return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void push(struct frame frame) {
    int at = under_way++;
    while (at && before(&frame, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = frame;
}

static struct frame pop(void) {
    struct frame first = heap[0], last = heap[--under_way];
    int at = 0;
    for (;;) {
        int next = 2 * at + 1;
        if (next >= under_way)
            break;
        if (next + 1 < under_way && before(&heap[next + 1], &heap[next]))
            next++;
        if (!before(&heap[next], &last))
            break;
        heap[at] = heap[next];
        at = next;
    }
    if (under_way)
        heap[at] = last;
    return first;
}

static int attach(const char *name) {
    int one = 1, size = BUFFER, fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll place = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name)};
    struct packet_mreq all = {.mr_ifindex = place.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || !place.sll_ifindex || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&place, sizeof place) ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all)) {
        perror(name);
        exit(2);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd;
}

/* ARP and what IPv6 has in its place. */
static int finds_neighbours(const unsigned char *frame, int length) {
    int kind = frame[12] << 8 | frame[13];
    return kind == 0x0806 || (kind == 0x86dd && length > 54 && frame[20] == 58);
}

int main(int count, char **words) {
    static unsigned char buffer[70000];
    double loss = 0, delay_ms = 0, jitter_ms = 0, seconds = 0;
    int one_way = 0, option;
    while ((option = getopt(count, words, "l:d:j:S:1t:")) > 0) {
        switch (option) {
        case 'l': loss = atof(optarg) / 100; break;
        case 'd': delay_ms = atof(optarg); break;
        case 'j': jitter_ms = atof(optarg); break;
        case 'S': state ^= strtoull(optarg, 0, 10) * 0x9E3779B97F4A7C15ull; break;
        case '1': one_way = 1; break;
        case 't': seconds = atof(optarg); break;
        default: return 2;
        }
    }
    if (count - optind != 2)
        return 2;
    int fd[2] = {attach(words[optind]), attach(words[optind + 1])};
    signal(SIGTERM, end);
    signal(SIGINT, end);
    uint64_t last = seconds > 0 ? now() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    while (!ended && now() < last) {
        uint64_t time = now(), wait = 20000000;
        while (under_way && heap[0].due <= time) {
            struct frame frame = pop();
            if (write(fd[frame.out], frame.bytes, frame.length) < 0 && errno != ENOBUFS)
                perror("write");
            free(frame.bytes);
        }
        if (under_way && heap[0].due - time < wait)
            wait = heap[0].due - time;
        struct timespec timeout = {0, wait};
        struct pollfd ready[2] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}};
        if (ppoll(ready, 2, &timeout, NULL) <= 0)
            continue;
        for (int from = 0; from < 2; from++) {
            for (int taken_now = 0; taken_now < 64 && (ready[from].revents & POLLIN); taken_now++) {
                int length = recv(fd[from], buffer, sizeof buffer, MSG_DONTWAIT);
                int bare = length - (int)sizeof(struct virtio_net_hdr);
                if (length <= 0)
                    break;
                if (bare < 14)
                    continue;
                uint64_t due = now();
                taken[from]++;
                if (!finds_neighbours(buffer + sizeof(struct virtio_net_hdr), bare) && !(one_way && from == 1)) {
                    if (chance() < loss) {
                        lost[from]++;
                        continue;
                    }
                    double ms = delay_ms + jitter_ms * (2 * chance() - 1);
                    due += ms > 0 ? (uint64_t)(ms * 1e6) : 0;
                }
                unsigned char *bytes = under_way < QUEUE ? malloc(length) : NULL;
                if (!bytes) {
                    refused[from]++;
                    continue;
                }
                memcpy(bytes, buffer, length);
                push((struct frame){due, numbers++, !from, length, bytes});
            }
        }
    }
    for (int from = 0; from < 2; from++)
        fprintf(stderr, "%s: %lu taken, %lu lost, %lu refused\n", from ? "back" : "there", taken[from], lost[from],
                refused[from]);
    return 0;
}
