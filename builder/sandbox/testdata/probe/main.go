// The probe is the program that tests run in a sandbox.
package main

import (
	"fmt"
	"os"
)

func main() {
	switch os.Args[1] {
	case "echo":
		fmt.Println(os.Args[2])
	}
}
