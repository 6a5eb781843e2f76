# Perl's Mail::DKIM as a judge, and as a signer to be judged.
#
# usage: perl mail_dkim.pl verify RECORDS
#        perl mail_dkim.pl sign CANONICALIZATION TIME KEY SELECTOR DOMAIN NAMES
#
# As judge-opendkim, whose usage says what each is; RSA only.
use strict;
use warnings;
use Mail::DKIM::DNS;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Net::DNS;

binmode STDIN;
binmode STDOUT;

# A resolver that knows a file of "NAME TEXT" lines.
package Records {

	sub new {
		my ($class, $path) = @_;
		my %texts;
		open(my $file, '<:raw', $path) or die "$path: $!";
		while (<$file>) {
			chomp;
			my ($name, $text) = split / /, $_, 2;
			$texts{lc $name} = $text;
		}
		return bless {texts => \%texts}, $class;
	}

	sub send {
		my ($self, $name, $type) = @_;
		my $answer = Net::DNS::Packet->new($name, $type, 'IN');
		my $text = $self->{texts}{lc $name};
		if (defined $text) {
			my @strings = $text =~ /(.{1,255})/g;
			$answer->push(answer => Net::DNS::RR->new(
				owner => $name, type => 'TXT',
				txtdata => \@strings));
		} else {
			$answer->header->rcode('NXDOMAIN');
		}
		return $answer;
	}

	sub errorstring { return 'NOERROR' }
}

package main;

sub frame_read {
	my $len = <STDIN>;
	return undef unless defined $len;
	my $bytes = '';
	$len == 0 or read(STDIN, $bytes, $len) == $len or die 'cut short';
	return $bytes;
}

my ($what, @arguments) = @ARGV;
if ($what eq 'verify') {
	Mail::DKIM::DNS::resolver(Records->new($arguments[0]));
	while (defined(my $message = frame_read())) {
		my $verifier = Mail::DKIM::Verifier->new();
		$verifier->PRINT($message);
		$verifier->CLOSE;
		print map({
			my $passed = $_->result eq 'pass' ? 'pass' : 'fail';
			join(' ', "\t" . ($_->domain // ''),
			     $_->selector // '', $_->algorithm // '', $passed)
		} $verifier->signatures), "\n";
	}
} elsif ($what eq 'sign') {
	my ($method, $time, $key, $selector, $domain, $names) = @arguments;
	# "+" oversigns: one more than there are.
	my %extended = map { $_ => '+' } split /:/, $names;
	while (defined(my $message = frame_read())) {
		my $signer = Mail::DKIM::Signer->new(
			Algorithm => 'rsa-sha256', Method => $method,
			Domain => $domain, Selector => $selector,
			KeyFile => $key, Timestamp => $time);
		$signer->extended_headers(\%extended);
		$signer->PRINT($message);
		$signer->CLOSE;
		my $field = $signer->signature->as_string . "\r\n";
		print length($field), "\n", $field;
	}
}
