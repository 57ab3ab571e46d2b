package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// userTokenVariable names the environment variable that takes the place of
// twitter.user_token_file.
const userTokenVariable = "TWEETLEDGER_X_USER_TOKEN"

// userToken returns the source of the bank account's own token: one that "login" has
// kept, and that is renewed, or a bare one that somebody else renews.
func (a *app) userToken(s settings) (twitter.TokenSource, error) {
	text, err := s.token(userTokenVariable, s.Twitter.UserTokenFile)
	if err != nil {
		return nil, err
	}
	if s.getenv(userTokenVariable) != "" || !twitter.IsTokenFile(text) {
		return twitter.StaticToken(text), nil
	}
	linker, err := a.tokenLinker(s)
	if err != nil {
		return nil, err
	}
	return twitter.NewTokenFile(s.path(s.Twitter.UserTokenFile), linker), nil
}

// tokenLinker returns the app's OAuth 2.0 client for the bank's own token, on a client
// that has none.
func (a *app) tokenLinker(s settings) (*twitter.Linker, error) {
	client, err := twitter.NewClient(twitter.Options{BaseURL: s.Twitter.APIURL, Clock: a.now, Log: a.log()})
	if err != nil {
		return nil, err
	}
	return s.linker(client, payments.Config{PageURL: s.Service.PageURL})
}

// maxCallbackLine bounds what is pasted: X's codes have about 130 characters.
const maxCallbackLine = 4096

func (a *app) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Let the service act as the bank's account on X, and keep the token",
		Long: `login gets the token with which the bank's account replies (OAuth 2.0 with PKCE) and
writes it to twitter.user_token_file, readable by you alone. "serve" renews it every two
hours, as X demands; several processes of one machine may share the file.

It prints an address. Open it in a browser that is logged in to X as the bank's account,
agree, and paste the address on which the browser ends: X takes its code for 30 seconds.`,
		Example: `  tweetledger login`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"api_url": s.Twitter.APIURL, "client_id": s.Twitter.ClientID, "user_token_file": s.Twitter.UserTokenFile} {
				if value == "" {
					return ledger.Errorf(ledger.CodeInvalid, "is not set; the login needs api_url, client_id and user_token_file").InField("twitter." + name)
				}
			}
			linker, err := a.tokenLinker(s)
			if err != nil {
				return err
			}
			var secrets [64]byte
			if _, err := io.ReadFull(a.random, secrets[:]); err != nil {
				return fmt.Errorf("make a state: %w", err)
			}
			state, verifier := base64.RawURLEncoding.EncodeToString(secrets[:32]), base64.RawURLEncoding.EncodeToString(secrets[32:])
			fmt.Fprintf(a.out, "%s\n", linker.LoginURL(state, verifier))
			fmt.Fprint(a.err, "Address on which the browser ended: ")
			code, err := readCallback(a.in, state)
			if err != nil {
				return err
			}
			file := s.path(s.Twitter.UserTokenFile)
			if err := linker.Login(c.Context(), code, verifier, s.Twitter.BankUserID, file); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "the token of @%s is kept in %s\n", s.Twitter.BankHandle, file)
			return err
		},
	}
}

// readCallback reads the address that X has sent a browser to, and returns its code.
func readCallback(in io.Reader, state string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, maxCallbackLine)).ReadString('\n')
	if err != nil && line == "" {
		return "", ledger.Errorf(ledger.CodeInvalid, "standard input holds no address; paste the one on which the browser ended")
	}
	back, err := url.Parse(strings.TrimSpace(line))
	if err != nil || back.Query().Get("state") != state {
		return "", ledger.Errorf(ledger.CodeInvalid, "that is not the address on which this login ends; begin again")
	}
	if back.Query().Get("code") == "" {
		return "", ledger.Errorf(ledger.CodeForbidden, "nobody has agreed on X's page")
	}
	return back.Query().Get("code"), nil
}
