import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import type { buildConnector } from 'undici';

/** Addresses that are of this machine or of a network of its owner's, and what is none of one machine. */
const privateRanges: readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'][] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['::', 96, 'ipv6'],
  ['64:ff9b::', 96, 'ipv6'],
  ['64:ff9b:1::', 48, 'ipv6'],
  ['2002::', 16, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['fec0::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
];

const privateAddresses = new BlockList();
for (const [network, prefix, family] of privateRanges) privateAddresses.addSubnet(network, prefix, family);

/** Whether an IP address is one that only this machine, or networks of its owner's, can mean. Exported for its test. */
export function isPrivateAddress(address: string): boolean {
  const plain = address.replace(/^\[|\]$|%.*$/g, '');
  const family = isIP(plain);
  // BlockList compares IPv4 in IPv6 (::ffff:10.0.0.1) with the ranges of IPv4.
  return family !== 0 && privateAddresses.check(plain, family === 4 ? 'ipv4' : 'ipv6');
}

type Connector = ReturnType<typeof buildConnector>;

/**
 * A connector that reaches private addresses only of the hosts `allowed` (`host` or `host:port` where that is not the protocol's own): where a
 * server redirects to, or sends for a token, is the server's choice, and it must not choose what only this machine can reach.
 * @param build makes a connector of undici's, with a lookup of its own or the usual one
 */
export function publicConnector(
  allowed: readonly string[],
  build: (lookup?: LookupFunction) => Connector,
): Connector {
  const usual = build();
  const guarded = build(publicLookup);
  const plain = (host: string): string => host.toLowerCase().replace(/[[\]]/g, '');
  const hosts = new Set(allowed.map(plain));
  return (options, callback) => {
    const { port, protocol } = options;
    const hostname = plain(options.hostname);
    const isDefault = port === '' || port === (protocol === 'https:' ? '443' : '80');
    const isAllowed = hosts.has(`${hostname}:${port}`) || (isDefault && hosts.has(hostname));
    if (isAllowed) usual(options, callback);
    else if (isPrivateAddress(hostname)) callback(refusal(hostname), null);
    else guarded(options, callback);
  };
}

/** What is not resolved to private addresses. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    const open = error === null ? addresses.filter(({ address }) => !isPrivateAddress(address)) : [];
    const [first] = open;
    if (error !== null) callback(error, '');
    else if (first === undefined) callback(refusal(hostname), '');
    else if (options.all === true) callback(null, open);
    else callback(null, first.address, first.family);
  });
};

/** With a code, so that it counts as a fault of the network, and with one that is not tried again. */
function refusal(hostname: string): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(
    `${hostname} is at a private address, and not among the upstreams that were named`,
  );
  error.code = 'EACCES';
  return error;
}
