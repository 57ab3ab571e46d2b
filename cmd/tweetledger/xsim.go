package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// xsimFlags are what the command line says about a simulated X.
type xsimFlags struct {
	script, listen, webhook, shape string
	postNames, once                bool
}

func (a *app) xsimCommand() *cobra.Command {
	var flags xsimFlags
	c := &cobra.Command{
		Use:   "xsim",
		Short: "Run a simulated X that plays a script, for trying and testing",
		Example: `  tweetledger xsim --script story.jsonl
  tweetledger xsim --script story.jsonl --webhook http://127.0.0.1:8080/webhooks/x`,
		Long: `xsim serves the part of the X API v2 that "serve" uses, to whoever knows the two
tokens that it prints; therefore it listens on this machine alone. It knows the
bank's account of the configuration (twitter.bank_user_id, twitter.bank_handle) and
plays a script: one JSON object a line, each an action. Lines that begin with # are
comments. What clients publish and send is printed, too.

  {"do":"user","id":"700000101","handle":"marie_test"}
  {"do":"await_stream"}
  {"do":"tweet","user":"marie_test","text":"@SmoneyFR #envoyer 20€ @yoann_test","as":"t1"}
  {"do":"edit","of":"t1","text":"@SmoneyFR #envoyer 15€ @yoann_test","after":"2s"}
  {"do":"cut"}                                     the next tweet is cut in the middle
  {"do":"fail","endpoint":"create","status":429,"times":3,"reset":"30s"}
  {"do":"message","user":"marie_test","text":"#solde"}

All actions are described in docs/twitter.md. Point a configuration at it with
twitter.api_url, TWEETLEDGER_X_TOKEN and TWEETLEDGER_X_USER_TOKEN; where that has a
twitter.client_id, customers link accounts on /i/oauth2/authorize. With --webhook it
also delivers events there, signed with TWEETLEDGER_X_WEBHOOK_SECRET, once the address
answers. It runs until it is interrupted, or with --once until the script is played.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.xsim(c.Context(), flags) },
	}
	c.Flags().StringVar(&flags.script, "script", "", "file with the script, or - for standard input")
	c.Flags().StringVar(&flags.listen, "listen", "127.0.0.1:8091", "address to listen on, of this machine alone")
	c.Flags().StringVar(&flags.webhook, "webhook", "", "where to deliver events")
	c.Flags().StringVar(&flags.shape, "webhook-shape", string(xsim.ShapeActivity), "shape of deliveries: activity (X Activity) or account (Account Activity)")
	c.Flags().BoolVar(&flags.postNames, "post-names", false, "speak of posts, as the newest reference does, instead of tweets")
	c.Flags().BoolVar(&flags.once, "once", false, "end when the script is played")
	required(c, "script")
	return c
}

func (a *app) xsim(ctx context.Context, flags xsimFlags) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	steps, err := a.readScript(flags.script)
	if err != nil {
		return err
	}
	listener, err := listenHere(flags.listen)
	if err != nil {
		return err
	}
	out := &lineWriter{w: a.out}
	sim := xsim.New(xsim.Options{Clock: a.now, Log: a.log(), PostNames: flags.postNames, Tell: out.line})
	bank := s.Twitter.BankUserID
	sim.AddUser(bank, s.Twitter.BankHandle, s.Service.BankName)
	if s.Twitter.ClientID != "" {
		secret, err := s.clientSecret()
		if err != nil {
			return err
		}
		sim.AddApp(xsim.App{ClientID: s.Twitter.ClientID, ClientSecret: secret, RedirectURLs: []string{redirectURL(payments.Config{PageURL: s.Service.PageURL})}})
	}
	out.line(fmt.Sprintf("simulated X on http://%s", listener.Addr()))
	out.line("TWEETLEDGER_X_TOKEN=" + sim.AppToken() + " TWEETLEDGER_X_USER_TOKEN=" + sim.UserToken(bank))

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: sim, ReadHeaderTimeout: headerTimeout} // a stream is written for ever
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", flags.listen, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		sim.Close()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(stopping)
	})
	if flags.webhook != "" {
		config := xsim.WebhookConfig{URL: flags.webhook, Secret: a.getenv(webhookSecretVariable), UserID: bank, Shape: xsim.WebhookShape(flags.shape)}
		group.Go(func() error { return subscribe(ctx, sim, config, out) })
	}
	group.Go(func() error {
		if err := sim.Play(ctx, bank, steps, out.line); err != nil {
			return scriptError(flags.script, err)
		}
		out.line("the script is played")
		if flags.once {
			stop()
		}
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return out.err
}

// readScript reads a script from a file, or from standard input.
func (a *app) readScript(name string) ([]xsim.Step, error) {
	in := a.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		defer file.Close()
		in = file
	}
	steps, err := xsim.ReadScript(in)
	return steps, scriptError(name, err)
}

// scriptError says in which file a line is wrong.
func scriptError(name string, err error) error {
	bad, ok := errors.AsType[*xsim.ScriptError](err)
	if !ok {
		return err
	}
	if bad.Line > 0 {
		name = fmt.Sprintf("%s:%d", name, bad.Line)
	}
	return &ledger.Error{Code: ledger.CodeInvalid, Field: name, Message: bad.Err.Error(), Err: bad}
}

// listenHere listens on an address that only this machine reaches: the simulated X
// believes everybody who knows its tokens, and they are no secret.
func listenHere(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		err := ledger.Errorf(ledger.CodeInvalid, "%q can be reached from elsewhere; use an address like 127.0.0.1:8091", address).InField("--listen")
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// subscribePause is how often the webhook is tried until it answers.
const subscribePause = time.Second

// subscribe registers the webhook once it passes the check.
func subscribe(ctx context.Context, sim *xsim.Server, config xsim.WebhookConfig, out *lineWriter) error {
	for told := false; ; {
		err := sim.Subscribe(ctx, config)
		if err == nil {
			out.line("delivers to " + config.URL)
			return nil
		}
		if !told {
			out.line(err.Error() + "; trying again")
			told = true
		}
		if err := pause(ctx, subscribePause); err != nil {
			return err
		}
	}
}

// lineWriter writes lines from several goroutines.
type lineWriter struct {
	mu  sync.Mutex
	w   io.Writer
	err error // the first
}

func (l *lineWriter) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := fmt.Fprintln(l.w, text); l.err == nil {
		l.err = err
	}
}
