package main

import "github.com/spf13/cobra"

// newEnvironment is no verb, but a text that the help has.
func newEnvironment() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "Environment variables that pix looks at",
		Long: `Environment variables that pix looks at. Flags overrule them.

  PIX_STORE               the store, as --store has it
  NIX_REMOTE              the same, if PIX_STORE is not set or empty
  NIX_STORE_DIR           the store directory, as --store-dir has it
  NIX_DAEMON_SOCKET_PATH  the socket of the daemon of this machine
  NIX_SSHOPTS             arguments for ssh, for stores of other machines
  NO_COLOR                if it is not empty, nothing is printed in colours`,
	}
}
