// CoreDNS with the plugins that the test cluster's configuration names, and no other: the released program also carries
// the clients of three clouds and of two tracing systems, 1403 packages to compile instead of 770.
package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
