package twitter

import "github.com/prometheus/client_golang/prometheus"

// metrics are what an operator watches of the connection to X.
type metrics struct {
	calls     *prometheus.CounterVec
	remaining *prometheus.GaugeVec
	billed    prometheus.Counter
	messages  *prometheus.CounterVec
	unread    *prometheus.CounterVec
	connects  *prometheus.CounterVec
	lag       prometheus.Histogram
	gaps      prometheus.Counter
}

// newMetrics makes the metrics and registers them where there is a registry.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tweetledger_twitter_calls_total", Help: "Requests to X by endpoint and HTTP status; none where there was no answer."}, []string{"endpoint", "status"}),
		remaining: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tweetledger_twitter_rate_limit_remaining", Help: "Requests that X said are left in its window."}, []string{"endpoint", "window"}),
		billed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tweetledger_twitter_posts_read_total", Help: "Posts read from X, which it bills; repeats within a UTC day are counted here and not there."}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tweetledger_twitter_messages_total", Help: "Messages handed over, by the way they came."}, []string{"via"}),
		unread: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tweetledger_twitter_unreadable_total", Help: "Posts and events of X that could not be read, by the way they came."}, []string{"via"}),
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tweetledger_twitter_stream_ends_total", Help: "Ends of a stream's connection, by stream and reason."}, []string{"stream", "reason"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tweetledger_twitter_stream_lag_seconds", Help: "Time from a post's creation to its arrival by stream.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 30, 60, 300, 1800}}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tweetledger_twitter_mention_gaps_total", Help: "Polls that could not reach back to the mentions read before."}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.remaining, m.billed, m.messages, m.unread, m.connects, m.lag, m.gaps} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
