package twitter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an operator watches of the connection to X. docs/twitter.md,
// "Watching it", says what to do about them.
type metrics struct {
	calls      *prometheus.CounterVec
	remaining  *prometheus.GaugeVec
	reads      *prometheus.CounterVec
	billed     *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	messages   *prometheus.CounterVec
	unread     *prometheus.CounterVec
	connects   *prometheus.CounterVec
	ends       *prometheus.CounterVec
	connected  *prometheus.GaugeVec
	heard      *prometheus.GaugeVec
	lag        *prometheus.HistogramVec
	gaps       prometheus.Counter
	backfills  *prometheus.CounterVec
	webhooks   *prometheus.CounterVec
	found      prometheus.Counter
}

// newMetrics makes the metrics and registers them where there is a registry.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tweetledger_twitter_" + name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tweetledger_twitter_" + name, Help: help}, labels)
		all = append(all, g)
		return g
	}
	m := &metrics{
		calls:      counter("calls_total", "Requests to X by endpoint and HTTP status; none where there was no answer.", "endpoint", "status"),
		remaining:  gauge("rate_limit_remaining", "Requests that X said are left in its window.", "endpoint", "window"),
		reads:      counter("reads_total", "Posts, direct messages and users read from X, repeats included.", "resource"),
		billed:     counter("reads_billed_total", "The same without what this process had read before on the same UTC day, which X bills once.", "resource"),
		duplicates: counter("duplicates_total", "Posts and direct messages that this process had read before on the same UTC day, by the way they came again.", "via"),
		messages:   counter("messages_total", "Messages handed over, by the way they came.", "via"),
		unread:     counter("unreadable_total", "Posts and events of X that could not be read, by the way they came.", "via"),
		connects:   counter("stream_connects_total", "Connections to a stream that X accepted.", "stream"),
		ends:       counter("stream_ends_total", "Ends of a stream's connection and refused connects, by reason.", "stream", "reason"),
		connected:  gauge("stream_connected", "1 while a stream is connected.", "stream"),
		heard:      gauge("stream_heard_timestamp_seconds", "When a stream last sent something, a keep-alive included.", "stream"),
		backfills:  counter("backfills_total", "Readings of what a gap in the stream has left out, by result.", "result"),
		webhooks:   counter("webhook_requests_total", "Requests to the webhook, by what became of them.", "result"),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tweetledger_twitter_lag_seconds", Help: "Time from the creation of a post or message to its arrival, by the way it came first.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 30, 60, 300, 1800}}, []string{"via"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tweetledger_twitter_mention_gaps_total", Help: "Readings that could not reach back to what was read before."}),
	}
	m.found = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tweetledger_twitter_replies_found_total", Help: "Posts that were not sent again since an earlier attempt had published them."})
	all = append(all, m.lag, m.gaps, m.found)
	if registry == nil {
		return m, nil
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// The resources that X bills reads of.
const (
	resourcePost   = "post"
	resourceDirect = "dm_event"
	resourceUser   = "user"
)

// noteRead counts a resource that X has sent, and how late it is where it is new.
func (c *Client) noteRead(resource, via, id string, createdAt time.Time) {
	now := c.opts.Clock()
	c.metrics.reads.WithLabelValues(resource).Inc()
	if !c.today.add(now, resource, id) {
		c.metrics.duplicates.WithLabelValues(via).Inc()
		return
	}
	c.metrics.billed.WithLabelValues(resource).Inc()
	if !createdAt.IsZero() {
		c.metrics.lag.WithLabelValues(via).Observe(now.Sub(createdAt).Seconds())
	}
}
