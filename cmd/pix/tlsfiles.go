package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// tlsFiles are the flags of a server for HTTPS.
type tlsFiles struct{ cert, key string }

func (f *tlsFiles) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.cert, "tls-certificate", "", "the `file` with the certificate chain for HTTPS, in PEM")
	flags.StringVar(&f.key, "tls-key", "", "the `file` with the private key of the certificate, in PEM")
	completeFlag(cmd, "tls-certificate", completeFiles)
	completeFlag(cmd, "tls-key", completeFiles)
}

// check returns an error if only one of the files is given.
func (f *tlsFiles) check() error {
	if (f.cert == "") != (f.key == "") {
		return errors.New("--tls-certificate and --tls-key need each other")
	}
	return nil
}

// maxPEM is the size in bytes of the largest file with a certificate or a key.
const maxPEM = 1 << 20

// config returns the configuration of HTTPS, or nil for HTTP.
func (f *tlsFiles) config(ctx context.Context) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil
	}
	cert, err := readContents(ctx, f.cert, maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := readContents(ctx, f.key, maxPEM)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate '%s' with the key '%s': %w", f.cert, f.key, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
}
