-- Three tasks and a secret, as the first version of the tables had them: written by that version.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempts (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	task TEXT NOT NULL, 
	turn INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	retry INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	worker TEXT, 
	cancel_requested BOOLEAN NOT NULL, 
	verdict TEXT, 
	outcome TEXT, 
	diff BLOB, 
	PRIMARY KEY (position), 
	UNIQUE (id), 
	FOREIGN KEY(task) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "attempts" VALUES(1,'1qwf4kx5bgxq-1-1','1qwf4kx5bgxq',1,1,0,'finished','1cecd68b2ac30598',0,'succeeded','{"verdict":"succeeded","reason":"","exit_status":0,"message":"","change":{"base":"9bfd9be2c8093874492abee53e0fd4abb0379dac","commit":"cc070fff1b270733de1d02a9e98196bf8ff343b1","repository":"/srv/state/results/76ccc37999ce02a98c2d4bf30829bd6716cd64c8f592f0d590160827adc06344.git","diff":"","stats":{"files":1,"added":1,"removed":1}},"seconds":{"provision":0.10603105799964396,"setup":0.6495000559989421,"agent":2.0364287049997074,"output":0.3950921750001726,"teardown":0.018101495999871986},"accepted_to_agent_seconds":3.030063}',X'78013DCD310EC3200C00C09D577847500CD8D08DAF600C559664416A9EDFA16AA71B4F8FB5C0B9D7B1A13FBADFF706F96A8E53E70DC491BBACB04A9C54B574A494B84AA7A292079734C2C482DEAF82CFB934A7A01465AC5189B9E724710A1371AD9A6A2D081802E76C9C73BFD3586BFF6F6BE0102C426BC65DE73476BF2FF30105062DAC');
INSERT INTO "attempts" VALUES(2,'1qwf4tm2bmh2-1-1','1qwf4tm2bmh2',1,1,0,'finished','fa815f86b71b6781',0,'failed','{"verdict":"failed","reason":"the setup script ended with status 3; it last said: broken","exit_status":null,"message":"","change":null,"seconds":{"provision":0.04820656799711287,"setup":0.6029814430003171,"teardown":0.005744273999880534},"accepted_to_agent_seconds":null}',NULL);
INSERT INTO "attempts" VALUES(3,'1qwf4yw6veyn-1-1','1qwf4yw6veyn',1,1,0,'finished','de930de8827cd67f',0,'succeeded','{"verdict":"succeeded","reason":"","exit_status":0,"message":"","change":{"base":"9bfd9be2c8093874492abee53e0fd4abb0379dac","commit":"bb0bea9f9016a9f2ccaad679b83655a0414c148d","repository":"/srv/state/results/76ccc37999ce02a98c2d4bf30829bd6716cd64c8f592f0d590160827adc06344.git","diff":"","stats":{"files":1,"added":1,"removed":0}},"seconds":{"provision":0.05472241100142128,"setup":0.7496529359996202,"agent":0.17657948700070847,"output":0.7031567800004268,"teardown":0.011438262998126447},"accepted_to_agent_seconds":1.20432}',X'78018DCE310E02211040D19E534C8FB0038B801D578165464910930DEA1EDFC2C4DADFBCF6D7C60C4A5DDB84BC143D8F09E5AB18F4066E9DE0FEA80406D13B27DAA87400FE99D6B654F6219762FC9A1D73B135F0CA18236E17A633FAB851885628A560A9F45AC6B37721A5FC7DA4040A4F08D2404A42CEDB4E243E25AB3076');
INSERT INTO "attempts" VALUES(4,'1qwf4yw6veyn-1-2','1qwf4yw6veyn',1,2,0,'finished','de930de8827cd67f',0,'succeeded','{"verdict":"succeeded","reason":"","exit_status":0,"message":"","change":{"base":"9bfd9be2c8093874492abee53e0fd4abb0379dac","commit":"bb0bea9f9016a9f2ccaad679b83655a0414c148d","repository":"/srv/state/results/76ccc37999ce02a98c2d4bf30829bd6716cd64c8f592f0d590160827adc06344.git","diff":"","stats":{"files":1,"added":1,"removed":0}},"seconds":{"provision":0.07640808499854757,"setup":0.5841683510006987,"agent":0.15869409200240625,"output":0.6562802929984173,"teardown":0.0026900559969362803},"accepted_to_agent_seconds":1.224788}',X'78018DCE310E02211040D19E534C8FB0038B801D578165464910930DEA1EDFC2C4DADFBCF6D7C60C4A5DDB84BC143D8F09E5AB18F4066E9DE0FEA80406D13B27DAA87400FE99D6B654F6219762FC9A1D73B135F0CA18236E17A633FAB851885628A560A9F45AC6B37721A5FC7DA4040A4F08D2404A42CEDB4E243E25AB3076');
CREATE TABLE events (
	task TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	attempt TEXT, 
	phase TEXT, 
	name TEXT NOT NULL, 
	fields JSON NOT NULL, 
	command TEXT, 
	output_end INTEGER, 
	PRIMARY KEY (task, seq), 
	FOREIGN KEY(task) REFERENCES tasks (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "events" VALUES('1qwf4kx5bgxq',1,'2026-11-26 13:46:44.517721',NULL,NULL,'task_accepted','{"commit": "9bfd9be2c8093874492abee53e0fd4abb0379dac", "ref": "main", "environment": "/srv/project", "notes": ["no setup script: nothing is installed (package managers are not detected yet)"]}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',2,'2026-11-26 13:46:44.901144','1qwf4kx5bgxq-1-1',NULL,'attempt_started','{"retry": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',3,'2026-11-26 13:46:44.903106','1qwf4kx5bgxq-1-1','provision','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',4,'2026-11-26 13:46:44.997294','1qwf4kx5bgxq-1-1','provision','snapshot_missed','{"key": "f9a9b07f9c6d1ceab4311279b3a365b25f707e8d9ef9ada87dde0f9cb8a73ee7", "reason": "first use of this environment"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',5,'2026-11-26 13:46:45.021053','1qwf4kx5bgxq-1-1','provision','phase_finished','{"seconds": 0.10603105799964396}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',6,'2026-11-26 13:46:45.021385','1qwf4kx5bgxq-1-1','setup','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',7,'2026-11-26 13:46:45.646286','1qwf4kx5bgxq-1-1','setup','snapshot_saved','{"key": "f9a9b07f9c6d1ceab4311279b3a365b25f707e8d9ef9ada87dde0f9cb8a73ee7"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',8,'2026-11-26 13:46:45.646456','1qwf4kx5bgxq-1-1','setup','phase_finished','{"seconds": 0.6495000559989421}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',9,'2026-11-26 13:46:45.646488','1qwf4kx5bgxq-1-1','agent','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',10,'2026-11-26 13:46:47.625710','1qwf4kx5bgxq-1-1','agent','output','{"stream": "stdout", "text": "done\n", "command": "agent", "offset": 10}','agent',10);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',11,'2026-11-26 13:46:47.671156','1qwf4kx5bgxq-1-1','agent','phase_finished','{"seconds": 2.0364287049997074}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',12,'2026-11-26 13:46:47.671369','1qwf4kx5bgxq-1-1','output','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',13,'2026-11-26 13:46:48.084496','1qwf4kx5bgxq-1-1','output','diff_collected','{"files": 1, "added": 1, "removed": 1}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',14,'2026-11-26 13:46:48.084594','1qwf4kx5bgxq-1-1','output','phase_finished','{"seconds": 0.3950921750001726}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',15,'2026-11-26 13:46:48.084743','1qwf4kx5bgxq-1-1','teardown','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',16,'2026-11-26 13:46:48.084756','1qwf4kx5bgxq-1-1','teardown','phase_finished','{"seconds": 0.018101495999871986}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',17,'2026-11-26 13:46:48.131406','1qwf4kx5bgxq-1-1',NULL,'attempt_finished','{"verdict": "succeeded", "reason": ""}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4kx5bgxq',18,'2026-11-26 13:46:48.134150',NULL,NULL,'task_finished','{"verdict": "succeeded"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',1,'2026-11-26 13:46:51.394326',NULL,NULL,'task_accepted','{"commit": "9bfd9be2c8093874492abee53e0fd4abb0379dac", "ref": "main", "environment": "/srv/project", "notes": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',2,'2026-11-26 13:46:51.863221','1qwf4tm2bmh2-1-1',NULL,'attempt_started','{"retry": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',3,'2026-11-26 13:46:51.863641','1qwf4tm2bmh2-1-1','provision','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',4,'2026-11-26 13:46:51.896762','1qwf4tm2bmh2-1-1','provision','snapshot_missed','{"key": "42b78c6790f4a48647ec940f1ca7180903d7a1361682f716d60cc146a3dd7fe2", "reason": "changed: setup script"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',5,'2026-11-26 13:46:51.897115','1qwf4tm2bmh2-1-1','provision','phase_finished','{"seconds": 0.04820656799711287}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',6,'2026-11-26 13:46:51.897394','1qwf4tm2bmh2-1-1','setup','phase_started','{"network": "full", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',7,'2026-11-26 13:46:52.459844','1qwf4tm2bmh2-1-1','setup','output','{"stream": "stdout", "text": "broken\n", "command": "setup", "offset": 12}','setup',12);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',8,'2026-11-26 13:46:52.499797','1qwf4tm2bmh2-1-1','setup','phase_finished','{"seconds": 0.6029814430003171}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',9,'2026-11-26 13:46:52.500589','1qwf4tm2bmh2-1-1','teardown','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',10,'2026-11-26 13:46:52.506218','1qwf4tm2bmh2-1-1','teardown','phase_finished','{"seconds": 0.005744273999880534}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',11,'2026-11-26 13:46:52.526404','1qwf4tm2bmh2-1-1',NULL,'attempt_finished','{"verdict": "failed", "reason": "the setup script ended with status 3; it last said: broken"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4tm2bmh2',12,'2026-11-26 13:46:52.530474',NULL,NULL,'task_finished','{"verdict": "failed"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',1,'2026-11-26 13:46:55.750985',NULL,NULL,'task_accepted','{"commit": "9bfd9be2c8093874492abee53e0fd4abb0379dac", "ref": "main", "environment": "/srv/project", "notes": ["no setup script: nothing is installed (package managers are not detected yet)"]}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',2,'2026-11-26 13:46:56.135213','1qwf4yw6veyn-1-1',NULL,'attempt_started','{"retry": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',3,'2026-11-26 13:46:56.135563','1qwf4yw6veyn-1-1','provision','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',4,'2026-11-26 13:46:56.213368','1qwf4yw6veyn-1-1','provision','snapshot_missed','{"key": "8d9d1d159bbde83ce54f0ba4fb75fd58b200bfaf1a25ef262a482974d010ed67", "reason": "changed: secrets"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',5,'2026-11-26 13:46:56.219300','1qwf4yw6veyn-1-1','provision','phase_finished','{"seconds": 0.05472241100142128}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',6,'2026-11-26 13:46:56.220203','1qwf4yw6veyn-1-1','setup','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',7,'2026-11-26 13:46:56.307607','1qwf4yw6veyn-1-2',NULL,'attempt_started','{"retry": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',8,'2026-11-26 13:46:56.308215','1qwf4yw6veyn-1-2','provision','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',9,'2026-11-26 13:46:56.382309','1qwf4yw6veyn-1-2','provision','snapshot_missed','{"key": "8d9d1d159bbde83ce54f0ba4fb75fd58b200bfaf1a25ef262a482974d010ed67", "reason": "changed: secrets"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',10,'2026-11-26 13:46:56.382520','1qwf4yw6veyn-1-2','provision','phase_finished','{"seconds": 0.07640808499854757}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',11,'2026-11-26 13:46:56.387565','1qwf4yw6veyn-1-2','setup','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',12,'2026-11-26 13:46:56.938984','1qwf4yw6veyn-1-1','setup','snapshot_saved','{"key": "8d9d1d159bbde83ce54f0ba4fb75fd58b200bfaf1a25ef262a482974d010ed67"}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',13,'2026-11-26 13:46:56.939425','1qwf4yw6veyn-1-1','setup','phase_finished','{"seconds": 0.7496529359996202}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',14,'2026-11-26 13:46:56.939551','1qwf4yw6veyn-1-1','agent','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',15,'2026-11-26 13:46:56.964852','1qwf4yw6veyn-1-2','setup','phase_finished','{"seconds": 0.5841683510006987}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',16,'2026-11-26 13:46:56.975173','1qwf4yw6veyn-1-2','agent','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',17,'2026-11-26 13:46:57.108683','1qwf4yw6veyn-1-1','agent','phase_finished','{"seconds": 0.17657948700070847}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',18,'2026-11-26 13:46:57.109003','1qwf4yw6veyn-1-1','output','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',19,'2026-11-26 13:46:57.123568','1qwf4yw6veyn-1-2','agent','phase_finished','{"seconds": 0.15869409200240625}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',20,'2026-11-26 13:46:57.123718','1qwf4yw6veyn-1-2','output','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',21,'2026-11-26 13:46:57.782816','1qwf4yw6veyn-1-2','output','diff_collected','{"files": 1, "added": 1, "removed": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',22,'2026-11-26 13:46:57.783910','1qwf4yw6veyn-1-2','output','phase_finished','{"seconds": 0.6562802929984173}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',23,'2026-11-26 13:46:57.784006','1qwf4yw6veyn-1-2','teardown','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',24,'2026-11-26 13:46:57.784149','1qwf4yw6veyn-1-2','teardown','phase_finished','{"seconds": 0.0026900559969362803}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',25,'2026-11-26 13:46:57.796358','1qwf4yw6veyn-1-2',NULL,'attempt_finished','{"verdict": "succeeded", "reason": ""}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',26,'2026-11-26 13:46:57.823479','1qwf4yw6veyn-1-1','output','diff_collected','{"files": 1, "added": 1, "removed": 0}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',27,'2026-11-26 13:46:57.823568','1qwf4yw6veyn-1-1','output','phase_finished','{"seconds": 0.7031567800004268}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',28,'2026-11-26 13:46:57.823637','1qwf4yw6veyn-1-1','teardown','phase_started','{"network": "off", "secrets": []}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',29,'2026-11-26 13:46:57.823727','1qwf4yw6veyn-1-1','teardown','phase_finished','{"seconds": 0.011438262998126447}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',30,'2026-11-26 13:46:57.843617','1qwf4yw6veyn-1-1',NULL,'attempt_finished','{"verdict": "succeeded", "reason": ""}',NULL,NULL);
INSERT INTO "events" VALUES('1qwf4yw6veyn',31,'2026-11-26 13:46:57.846758',NULL,NULL,'task_finished','{"verdict": "succeeded"}',NULL,NULL);
CREATE TABLE secrets (
	environment TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	sealed BLOB NOT NULL, 
	PRIMARY KEY (environment, name)
);
INSERT INTO "secrets" VALUES('web','NPM_TOKEN','47ff24e3cbaa0059d907572d599f2ad1',X'01447CC53B8173EAF6EA8CDE66288EF10F6F71F3413BE2E416FA5420865EC9A6E0A4AA8884AB0D1B26CEA7FD98C10AF9EE7E1DA35EF3D11F490C63C83CA66A678881203EAEC4910D0A759F10D1AE3D4335ED21FFDEFB68415C139BCD377A3EFC8B');
CREATE TABLE snapshots (
	"key" TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	repository TEXT NOT NULL, 
	"commit" TEXT NOT NULL, 
	parts JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "snapshots" VALUES('f9a9b07f9c6d1ceab4311279b3a365b25f707e8d9ef9ada87dde0f9cb8a73ee7','/srv/project','/srv/project','9bfd9be2c8093874492abee53e0fd4abb0379dac','{"image": "88757c479f763fc61edba4731a7bc904faefdc040489081356b975491e77eb58", "repository": "d63d28197ec5465fec5149edc67bd961c9750f561fcbfe9bd8e6fdbc60ba0190", "setup script": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b", "automatic setup": "b5bea41b6c623f7c09f1bf24dcae58ebab3c0cdd90ad966bc43a45b44867e12b", "maintenance script": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b", "variables": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "secrets": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "versions": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "setup network": "0fe074d48967029214565646a645590a66c81ce2365e4fc376d02e59bcdc9704"}','2026-11-26 13:46:44.984980','2026-11-27 01:46:44.984980');
INSERT INTO "snapshots" VALUES('8d9d1d159bbde83ce54f0ba4fb75fd58b200bfaf1a25ef262a482974d010ed67','/srv/project','/srv/project','9bfd9be2c8093874492abee53e0fd4abb0379dac','{"image": "88757c479f763fc61edba4731a7bc904faefdc040489081356b975491e77eb58", "repository": "d63d28197ec5465fec5149edc67bd961c9750f561fcbfe9bd8e6fdbc60ba0190", "setup script": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b", "automatic setup": "b5bea41b6c623f7c09f1bf24dcae58ebab3c0cdd90ad966bc43a45b44867e12b", "maintenance script": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b", "variables": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "secrets": "b351cb822a68989f8ad24bdba2ff21bf8e40023109a558e1c3848e2296d2105a", "versions": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "setup network": "0fe074d48967029214565646a645590a66c81ce2365e4fc376d02e59bcdc9704"}','2026-11-26 13:46:56.182175','2026-11-27 01:46:56.182175');
CREATE TABLE tasks (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	document TEXT NOT NULL, 
	patch BLOB, 
	sealed_secrets BLOB, 
	state TEXT NOT NULL, 
	verdict TEXT, 
	accepted_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	last_seq INTEGER NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (id)
);
INSERT INTO "tasks" VALUES(1,'1qwf4kx5bgxq','{"id":"1qwf4kx5bgxq","repository":{"address":"/srv/project","directory":"project"},"revision":{"ref":"main","commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac","default_branch":"main","default_commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac"},"environment":{"name":"/srv/project","image":"base","agent":"codex","versions":{},"variables":{},"secrets":[],"setup":{"script":null,"maintenance":null,"automatic":true,"timeout_seconds":1200.0,"residue":"refuse"},"services":[],"network":{"setup":"full","agent":"off","allow":[],"methods":null,"ports":[80,443]},"limits":{"cpu":2.0,"memory_bytes":4294967296,"disk_bytes":10737418240,"pids":2048,"output_bytes":52428800,"time_seconds":3600.0,"rounds":1},"checks":[],"cache_ttl_seconds":43200.0,"review_automatic":false},"prompt":"change it","agent":"command","command":"echo two > a.txt; echo done","use_cache":true,"attempts":1,"accepted_at":"2026-11-26T13:46:44.517721Z"}',NULL,NULL,'finished','succeeded','2026-11-26 13:46:44.517721','2026-11-26 13:46:48.134150',18);
INSERT INTO "tasks" VALUES(2,'1qwf4tm2bmh2','{"id":"1qwf4tm2bmh2","repository":{"address":"/srv/project","directory":"project"},"revision":{"ref":"main","commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac","default_branch":"main","default_commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac"},"environment":{"name":"/srv/project","image":"base","agent":"codex","versions":{},"variables":{},"secrets":[],"setup":{"script":"echo broken; exit 3","maintenance":null,"automatic":true,"timeout_seconds":1200.0,"residue":"refuse"},"services":[],"network":{"setup":"full","agent":"off","allow":[],"methods":null,"ports":[80,443]},"limits":{"cpu":2.0,"memory_bytes":4294967296,"disk_bytes":10737418240,"pids":2048,"output_bytes":52428800,"time_seconds":3600.0,"rounds":1},"checks":[],"cache_ttl_seconds":43200.0,"review_automatic":false},"prompt":"never runs","agent":"command","command":"true","use_cache":true,"attempts":1,"accepted_at":"2026-11-26T13:46:51.394326Z"}',NULL,NULL,'finished','failed','2026-11-26 13:46:51.394326','2026-11-26 13:46:52.530474',12);
INSERT INTO "tasks" VALUES(3,'1qwf4yw6veyn','{"id":"1qwf4yw6veyn","repository":{"address":"/srv/project","directory":"project"},"revision":{"ref":"main","commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac","default_branch":"main","default_commit":"9bfd9be2c8093874492abee53e0fd4abb0379dac"},"environment":{"name":"/srv/project","image":"base","agent":"codex","versions":{},"variables":{},"secrets":[],"setup":{"script":null,"maintenance":null,"automatic":true,"timeout_seconds":1200.0,"residue":"refuse"},"services":[],"network":{"setup":"full","agent":"off","allow":[],"methods":null,"ports":[80,443]},"limits":{"cpu":2.0,"memory_bytes":4294967296,"disk_bytes":10737418240,"pids":2048,"output_bytes":52428800,"time_seconds":3600.0,"rounds":1},"checks":[],"cache_ttl_seconds":43200.0,"review_automatic":false},"prompt":"twice","agent":"command","command":"echo three > b.txt","use_cache":true,"attempts":2,"accepted_at":"2026-11-26T13:46:55.750985Z"}',NULL,X'01447CC53B8173EAF6860AFA5A3503E58F0240BD544B425B6CB065A2DEF3252B5ADF02ECEC20AC6A795985A0124E5976F90F816B7180AEB418EE79B1B377BBB8530DD985A3DD82924C87B03511C97D69E0BD933B4761614B77E7F12D7B0BA3AFFAF8736479F24266','finished','succeeded','2026-11-26 13:46:55.750985','2026-11-26 13:46:57.846758',31);
CREATE INDEX attempts_by_task ON attempts (task, number);
CREATE INDEX attempts_by_state ON attempts (state, position);
CREATE INDEX events_by_command ON events (attempt, command, output_end) WHERE command IS NOT NULL;
CREATE INDEX snapshots_by_use ON snapshots (environment, repository, created_at);
COMMIT;
