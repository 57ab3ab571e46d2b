package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/ledger"
)

// cardsimFlags are what the command line says about a simulated acquirer.
type cardsimFlags struct{ listen, webhook string }

func (a *app) cardsimCommand() *cobra.Command {
	var flags cardsimFlags
	c := &cobra.Command{
		Use:   "cardsim",
		Short: "Run a simulated card acquirer, for trying and testing",
		Example: `  tweetledger cardsim
  tweetledger cardsim --webhook http://127.0.0.1:8080/webhooks/card`,
		Long: `cardsim serves the part of Stripe's API that tweetledger uses, the page on which a
cardholder enters a card, the one on which a cardholder authenticates, and settlement
files, to whoever knows the key that it prints; therefore it listens on this machine
alone. Point a configuration at it with card.api_url, TWEETLEDGER_CARD_KEY and
TWEETLEDGER_CARD_WEBHOOK_SECRET. With --webhook it delivers what happens there, signed. It
forgets everything when it ends. A day's settlement file is at /settlement/2026-11-23.csv,
for "Authorization: Bearer" and that key.

A card is a token, which says how the card behaves: pm_sim_<behaviour>_<anything>, and
pm_sim_<behaviour>_<country>_<anything> for one that was not issued in France.

  ok          is charged
  challenge   the cardholder must authenticate first
  declined, funds, stolen   is declined, for that reason
  amount      is declined by the cents: .05, .43 stolen, .51 funds, .54 expired, .61 limit
  processing  is decided only when it is looked at again
  norefund    refunds of it fail
  other       is charged another amount than was asked for

On the page on which a cardholder enters a card there are buttons instead of numbers: ok,
challenge (3-D Secure), declined, ok_de (issued abroad) and funds.

Lines on standard input are what people do: "dispute PAYMENT", "win PAYMENT" and "lose
PAYMENT" of a dispute, "refund PAYMENT" on the acquirer's own pages, "approve PAYMENT" and
"refuse PAYMENT" as a cardholder who authenticates, and "payments" to list all.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.cardsim(c.Context(), flags) },
	}
	c.Flags().StringVar(&flags.listen, "listen", "127.0.0.1:8092", "address to listen on, of this machine alone")
	c.Flags().StringVar(&flags.webhook, "webhook", "", "where to deliver what happens")
	return c
}

// The secrets of the simulated acquirer, which are none.
const (
	cardsimKey    = "sk_sim"
	cardsimSecret = "whsec_sim"
)

func (a *app) cardsim(ctx context.Context, flags cardsimFlags) error {
	if u, err := url.Parse(flags.webhook); flags.webhook != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not an address; write it like http://127.0.0.1:8080/webhooks/card", ledger.Clip(flags.webhook)).InField("--webhook")
	}
	listener, err := listenHere(flags.listen)
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	sim := cardsim.New(cardsim.Options{Clock: a.now, SecretKey: cardsimKey, Secret: cardsimSecret, URL: func() string { return address }})
	out := &lineWriter{w: a.out}
	out.line("simulated acquirer on " + address)
	out.line(cardKeyVariable + "=" + cardsimKey + " " + cardWebhookSecretVariable + "=" + cardsimSecret)
	server := &http.Server{Handler: sim, ReadHeaderTimeout: headerTimeout}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", flags.listen, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(stopping)
	})
	if flags.webhook != "" {
		group.Go(func() error { return deliverNews(ctx, sim, flags.webhook, out) })
	}
	go obey(sim, a.in, out) // reading a terminal cannot be interrupted
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return out.err
}

const (
	// newsPause is how often the simulated acquirer looks for what is to be delivered.
	newsPause = 200 * time.Millisecond
	// newsTries is how often a delivery is tried before it is lost, as news are.
	newsTries = 5
	// newsTimeout bounds one try.
	newsTimeout = 10 * time.Second
)

// deliverNews delivers what happens at the acquirer to a webhook, until it is told to end.
func deliverNews(ctx context.Context, sim *cardsim.Server, webhook string, out *lineWriter) error {
	client := &http.Client{Timeout: newsTimeout}
	for {
		for _, d := range sim.Take() {
			var err error
			for try := range newsTries {
				if err = sim.Post(ctx, client, webhook, d); err == nil {
					out.line("delivered " + d.Type)
					break
				}
				if err := pause(ctx, newsPause<<try); err != nil {
					return err
				}
			}
			if err != nil {
				out.line("lost " + d.Type + ": " + err.Error())
			}
		}
		if err := pause(ctx, newsPause); err != nil {
			return err
		}
	}
}

// maxCardsimLine bounds a line of standard input: a word and a reference.
const maxCardsimLine = 256

// obey does what the lines of standard input say.
func obey(sim *cardsim.Server, in io.Reader, out *lineWriter) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxCardsimLine)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if err := obeyLine(sim, append(words, ""), out); err != nil {
			out.line(err.Error())
			continue
		}
		out.line("done: " + strings.Join(words, " "))
	}
	if err := lines.Err(); err != nil {
		out.line("standard input: " + err.Error())
	}
}

func obeyLine(sim *cardsim.Server, words []string, out *lineWriter) error {
	switch payment := words[1]; words[0] {
	case "dispute":
		_, err := sim.Dispute(payment)
		return err
	case "win", "lose":
		return sim.CloseDispute(payment, words[0] == "win")
	case "refund":
		return sim.RefundOutside(payment)
	case "approve", "refuse":
		return sim.Authenticate(payment, words[0] == "approve")
	case "payments":
		for _, p := range sim.Payments() {
			out.line(fmt.Sprintf("%s %s %s charged %s refunded %s taken back %s", p.Reference, p.Token, p.Status, ledger.Amount(p.Received).Format(ledger.EUR),
				ledger.Amount(p.Refunded).Format(ledger.EUR), ledger.Amount(p.TakenBack).Format(ledger.EUR)))
		}
		return nil
	}
	return fmt.Errorf("%.40q is not known; write dispute, win, lose, refund, approve or refuse with a payment, or payments", words[0])
}
