// Sends what its input says, {"transport": …, "messages": […]}, by Nodemailer,
// all at once; prints the server's replies, or how it failed.
const nodemailer = require("nodemailer");
const { transport, messages } = JSON.parse(
	require("fs").readFileSync(0));
const transporter = nodemailer.createTransport(transport);

Promise.all(messages.map((message) => transporter.sendMail(message)))
	.then((sent) => {
		console.log(JSON.stringify(sent.map((one) => one.response)));
		transporter.close();
	})
	.catch((error) => {
		console.log(JSON.stringify({ code: error.code,
			response: error.response, text: String(error) }));
		process.exit(1);
	});
